"""Encodings: numbers, choices and natural spaces reach the devices, and what is wrong is said."""

import numpy as np
import pytest
from gymnasium import spaces

from dss_marl.devices import DeviceGroup
from dss_marl.mdp.actions import ActionLayout, BoxEncoding, MultiDiscreteEncoding, NativeEncoding


def group(buses, counts, kind="Kind"):
    """Devices with one entry for each number: of levels, 0 for a continuous one."""
    labels = tuple(f"entry {k}" for k in range(len(counts)))
    made = type(
        kind, (DeviceGroup,), {"action_labels": labels, "n_levels": lambda self: np.tile(counts, (self.size, 1))}
    )
    return made(tuple(f"{kind}{d}".lower() for d in range(len(buses))), tuple(buses))


GROUPS = [group("abc", [0]), group("ab", [5], "Tap"), group("a", [3], "Bank")]  # agents 0: all, 1: two, 2: one


def action_layout(groups=GROUPS):
    place = {"a": 0, "b": 1, "c": 2}
    return ActionLayout.build(["x_1", "x_2", "x_3"], [place[bus] for g in groups for bus in g.buses], groups)


def test_boxes_have_the_same_width_for_all():
    encoding = BoxEncoding(action_layout(), GROUPS, 11)
    assert [encoding.space(a).shape for a in range(3)] == [(3,)] * 3
    assert not encoding.discrete
    decoded = encoding.decode({"x_1": [0.1, 0.2, 0.3], "x_2": [0.4, 0.5, 7.0], "x_3": [0.6, -9.0, 9.0]})
    assert decoded.joint_action.tolist() == [0.1, 0.4, 0.6, 0.2, 0.5, 0.3]
    assert decoded.clipped.tolist() == [0, 0, 0], "padding is not counted"
    assert (decoded.level == -1).all()
    assert encoding.mask_space(0) is encoding.mask(0, np.ones((6, 5), bool)) is None


def test_multidiscrete_takes_natural_levels_and_invents_the_others():
    encoding = MultiDiscreteEncoding(action_layout(), GROUPS, 7)
    assert encoding.space(2) == spaces.MultiDiscrete([7, 5, 3])
    assert encoding.values[0].tolist() == pytest.approx([-1, -2 / 3, -1 / 3, 0, 1 / 3, 2 / 3, 1])
    assert encoding.values[3, :5].tolist() == [-1, -0.5, 0, 0.5, 1]
    assert np.isnan(encoding.values[3, 5:]).all()
    decoded = encoding.decode({"x_1": [6, 0, 2], "x_2": [3, 4, 0], "x_3": [0, 0, 0]})
    assert decoded.joint_action.tolist() == [1, 0, -1, -1, 1, 1]
    assert decoded.level.tolist() == [6, 3, 0, 0, 4, 2]


def test_masks_show_what_is_allowed_and_only_the_middle_of_padding():
    encoding = MultiDiscreteEncoding(action_layout(), GROUPS, 7)
    allowed = np.zeros((6, 7), bool)
    allowed[:, :2] = True
    masks = encoding.mask(1, allowed)
    assert [m.tolist() for m in masks] == [[1, 1, 0, 0, 0, 0, 0], [1, 1, 0, 0, 0], [0, 1, 0]]
    assert all(m.dtype == np.int8 for m in masks)
    assert encoding.mask_space(1).contains(masks)
    assert encoding.space(1).sample(mask=masks)[2] == 1


def test_a_device_with_fewer_positions_than_its_slot():
    mixed = [group("ab", [5], "Tap"), group("c", [5], "Other")]
    mixed[0].__class__.n_levels = lambda self: np.array([[5], [3]])
    encoding = MultiDiscreteEncoding(action_layout(mixed), mixed, 7)
    assert encoding.choices.tolist() == [5, 5]
    allowed = np.ones((3, 5), bool) & ~np.isnan(encoding.values)
    assert encoding.mask(1, allowed)[0].tolist() == [1, 1, 1, 0, 0]
    assert np.isnan(encoding.decode({"x_1": [0, 0], "x_2": [4, 0], "x_3": [0, 0]}).joint_action[1])


def test_one_choice_each_is_discrete():
    one = [group("abc", [3])]
    encoding = MultiDiscreteEncoding(action_layout(one), one, 11)
    assert encoding.space(0) == spaces.Discrete(3)
    assert encoding.mask(0, np.array([[1, 1, 0]] * 3, bool)).tolist() == [1, 1, 0]
    assert encoding.decode({"x_1": 2, "x_2": np.int64(0), "x_3": np.array(1)}).joint_action.tolist() == [1, -1, 0]
    assert encoding.encode(np.array([1.0, -1.0, 0.1]))["x_3"] == 1


def test_native_is_a_dict_by_device():
    encoding = NativeEncoding(action_layout(), GROUPS, 11)
    assert encoding.space(0) == spaces.Dict(
        {"kind0": spaces.Box(-1, 1, (1,)), "tap0": spaces.Discrete(5), "bank0": spaces.Discrete(3)}
    )
    assert encoding.mask_space(2) is None
    assert set(encoding.mask(0, np.ones((6, 5), bool))) == {"tap0", "bank0"}
    actions = {
        "x_1": {"kind0": [0.3], "tap0": 4, "bank0": 0},
        "x_2": {"kind1": np.array([2.0]), "tap1": 2},
        "x_3": {"kind2": 0.5},
    }
    decoded = encoding.decode(actions)
    assert decoded.joint_action.tolist() == [0.3, 1.0, 0.5, 1.0, 0.0, -1.0]
    assert decoded.level.tolist() == [-1, -1, -1, 4, 2, 0]
    assert decoded.clipped.tolist() == [0, 1, 0]


def test_native_of_one_device_each_is_its_own_space():
    alone = [group("a", [0, 0]), group("b", [3], "Bank"), group("c", [3, 5], "Both")]
    encoding = NativeEncoding(action_layout(alone), alone, 11)
    assert [encoding.space(a) for a in range(3)] == [
        spaces.Box(-1, 1, (2,)),
        spaces.Discrete(3),
        spaces.MultiDiscrete([3, 5]),
    ]
    assert encoding.decode({"x_1": [0.1, 0.2], "x_2": 2, "x_3": [0, 4]}).joint_action.tolist() == [0.1, 0.2, 1, -1, 1]
    assert encoding.mask(2, np.ones((5, 5), bool))[1].tolist() == [1] * 5


@pytest.mark.parametrize("alone", [True, False])
def test_native_devices_may_have_both_choices_and_numbers(alone):
    """A Tuple with one part for each entry; the mask has parts for the choices alone."""
    groups = [group("abc", [3, 0, 5], "Mix")] + ([] if alone else [group("a", [0])])
    encoding = NativeEncoding(action_layout(groups), groups, 11)
    own = spaces.Tuple([spaces.Discrete(3), spaces.Box(-1, 1, (1,)), spaces.Discrete(5)])
    mask_of_own = spaces.Tuple([spaces.MultiBinary(3), spaces.MultiBinary(5)])
    assert encoding.space(1) == (own if alone else spaces.Dict({"mix1": own}))
    assert encoding.mask_space(1) == (mask_of_own if alone else spaces.Dict({"mix1": mask_of_own}))
    joint_action = np.array([1.0, 0.25, -0.5, 0.0, -0.75, 1.0, -1.0, 0.5, 0.0, *([] if alone else [0.125])])
    encoded = encoding.encode(joint_action)
    for a, agent in enumerate(("x_1", "x_2", "x_3")):
        assert encoding.space(a).contains(encoded[agent])
    decoded = encoding.decode(encoded)
    assert decoded.joint_action.tolist() == joint_action.tolist()
    assert decoded.level.tolist() == [2, -1, 1, 1, -1, 4, 0, -1, 2, *([] if alone else [-1])]
    allowed = np.zeros((len(joint_action), 5), bool)
    allowed[3, 1], allowed[5, 4] = True, True
    mask = encoding.mask(1, allowed)
    parts = mask if alone else mask["mix1"]
    assert encoding.mask_space(1).contains(mask)
    assert [part.tolist() for part in parts] == [[0, 1, 0], [0, 0, 0, 0, 1]]
    wild = dict(encoded, x_2=(1, [-3.0], 4) if alone else {"mix1": (1, [-3.0], 4)})
    assert encoding.decode(wild).clipped.tolist() == [0, 1, 0]


def test_native_needs_unique_names():
    twice = [group("ab", [3], "Same"), group("c", [3], "Same")]
    with pytest.raises(ValueError, match="two devices are named 'same0'; actions 'native' needs unique names"):
        NativeEncoding(action_layout(twice), twice, 11)


@pytest.mark.parametrize(
    ("kind", "change", "message"),
    [
        (BoxEncoding, {"x_2": None}, "no action for 'x_2'; needed for each of x_1, x_2, x_3"),
        (BoxEncoding, {"x_9": [0, 0, 0]}, "action for unknown agent 'x_9'; agents are x_1, x_2, x_3"),
        (BoxEncoding, {"x_1": [0, 0]}, r"'x_1' has shape \(2,\); it must be \(3,\)"),
        (BoxEncoding, {"x_1": [0, float("nan"), 0]}, "'x_1' contains NaN"),
        (BoxEncoding, {"x_1": "up"}, "'x_1' is not a numeric vector: 'up'"),
        (MultiDiscreteEncoding, {"x_2": None}, "no action for 'x_2'"),
        (MultiDiscreteEncoding, {"x_1": [0, 5, 0]}, "'x_1': entry 1 is 5; it must be from 0 to 4"),
        (MultiDiscreteEncoding, {"x_1": [0, -1, 0]}, "'x_1': entry 1 is -1"),
        (MultiDiscreteEncoding, {"x_1": [0.5, 0, 0]}, "'x_1' must be 3 integers"),
        (NativeEncoding, {"x_1": {"kind0": [0.0]}}, "'x_1' must have the keys kind0, tap0, bank0"),
        (NativeEncoding, {"x_3": {"kind2": [0.0, 1.0]}}, r"'x_3', kind2: \[0.0, 1.0\] must be 1 finite number"),
        (NativeEncoding, {"x_2": {"kind1": [0.0], "tap1": 5}}, "'x_2', tap1: 5 is not one of the 5 choices from 0"),
    ],
)
def test_what_is_wrong_is_said(kind, change, message):
    encoding = kind(action_layout(), GROUPS, 11)
    actions = encoding.encode(np.zeros(6)) | change
    actions = {agent: action for agent, action in actions.items() if action is not None}
    with pytest.raises(ValueError, match=message):
        encoding.decode(actions)
