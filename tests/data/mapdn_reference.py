"""Writes mapdn_33.json and mapdn_141.json: the published environment's steps, on pandapower, for three controllers.

Needs pandapower (written with 3.5.6 and pandas 2.3): it is no dependency of the package. The rules are those of Wang et
al., NeurIPS 2021, arXiv:2110.14300, and of its published environment; inputs are random but plausible.
"""

import json
import re
from pathlib import Path

import numpy as np
import pandapower as pp
import pandapower.networks

HERE = Path(__file__).parent
STEPS = 24
PV = {  # buses from 1, in the order of the published units
    33: [13, 18, 22, 25, 29, 33],
    141: [36, 111, 53, 75, 82, 77, 87, 59, 62, 68, 69, 100, 106, 110, 116, 117, 130, 133, 137, 138, 139, 141],
}
SCALE, PEAK_MW, LOAD_MW = {33: 0.8, 141: 0.6}, {33: 1.5, 141: 3.6}, {33: 2.4, 141: 12.0}
GAIN, WHOLE = {33: 4.0, 141: 2.0}, 6  # every sixth step with all voltages


def network(buses):
    """The single-line network: case33bw of pandapower without ties, or MATPOWER's numbers of case141."""
    if buses == 33:
        net = pandapower.networks.case33bw()
        net.line.drop(net.line.index[~net.line.in_service], inplace=True)
        net.sgen.drop(net.sgen.index, inplace=True)
    else:
        text = (HERE.parents[1] / "feeders" / "case141" / "feeder.dss").read_text()
        net = pp.create_empty_network(f_hz=60)
        for k in range(141):
            pp.create_bus(net, 12.47, index=k)
        pp.create_ext_grid(net, 0)
        for one, two, r, x in re.findall(r"bus1=(\d+)\s+bus2=(\d+)\s+r1=(\S+)\s+x1=(\S+)", text):
            ends = int(one) - 1, int(two) - 1
            pp.create_line_from_parameters(net, *ends, 1.0, float(r), float(x), 0.0, 10.0)
        for bus in sorted(int(b) for b in re.findall(r"New Load\.\S+\s+phases=3 bus1=(\d+)", text)):
            pp.create_load(net, bus - 1, 0.1, 0.05)
    for bus in PV[buses]:
        pp.create_sgen(net, bus - 1, 0.5, 0.0)
    return net


def tables(net, buses, rng):
    """(STEPS + 2, n) load MW, load Mvar and PV MW."""
    loads, units = len(net.load), len(PV[buses])
    share = rng.dirichlet(np.full(loads, 4.0)) * LOAD_MW[buses]
    wave = 1 + 0.2 * np.sin(np.arange(STEPS + 2) / 5)[:, None] + 0.05 * rng.standard_normal((STEPS + 2, loads))
    active = share * wave
    reactive = active * rng.uniform(0.3, 0.7, loads)
    sun = np.linspace(0.05, 1.0, STEPS + 2)[:, None] * rng.uniform(0.7, 1.0, (STEPS + 2, units))
    return np.round(active, 6), np.round(reactive, 6), np.round(PEAK_MW[buses] * sun, 6)


def barriers(v):
    """The five published barriers of voltages (n)."""
    off = abs(v - 1)
    bell = np.exp(-0.5 * (v - 1) ** 2 / 0.01) / np.sqrt(2 * np.pi * 0.01)
    with np.errstate(divide="ignore"):
        bump = np.where(v < 1, np.exp(-1 / (1 - v**4)), np.exp(-1 / (1 - (v - 2) ** 4))) * (v != 1)
    return {
        "l1": off.mean(),
        "l2": (2 * (v - 1) ** 2).mean(),
        "bowl": np.where(off > 0.05, 2 * off - 0.095, 0.04 - 0.01 * bell).mean(),
        "bump": bump.mean(),
        "courant_beltrami": (np.maximum(v - 1.05, 0) ** 2 + np.maximum(0.95 - v, 0) ** 2).mean(),
    }


def played(net, buses, data, policy):
    """The steps of an episode: what each gives."""
    active, reactive, pv = data
    rating = 1.2 * pv.max(axis=0)

    def operate(row, action):
        net.load["p_mw"], net.load["q_mvar"] = active[row], reactive[row]
        net.sgen["p_mw"] = pv[row]
        net.sgen["q_mvar"] = SCALE[buses] * action * np.sqrt(rating**2 - pv[row] ** 2)
        pp.runpp(net, tolerance_mva=1e-8, max_iteration=50)

    operate(0, np.zeros(len(rating)))
    found = []
    for row in range(STEPS):
        action = policy(row, net.res_bus["vm_pu"].to_numpy())
        operate(row, action)
        v, q = net.res_bus["vm_pu"].to_numpy(), net.sgen["q_mvar"].to_numpy()
        out = (v < 0.95).sum() + (v > 1.05).sum()
        found.append(
            {
                "barriers": barriers(v),
                "q_loss": abs(q).mean(),
                "controllable": 0.0 if out / len(v) > 1e-3 else 1.0,
                "line_loss_mw": net.res_line["pl_mw"].sum(),
            }
        )
        if row % WHOLE == 0:
            found[-1] |= {"v_pu": v.tolist(), "angle_rad": np.radians(net.res_bus["va_degree"]).tolist()}
    return found


def policies(buses):
    """No control, random with a seed, and a fixed feedback on each unit's own voltage of the last step."""
    units = np.array(PV[buses]) - 1
    random = np.random.default_rng(7).uniform(-1, 1, (STEPS, len(units)))
    return {
        "no_control": lambda row, v: np.zeros(len(units)),
        "random": lambda row, v: random[row],
        "feedback": lambda row, v: np.clip(-GAIN[buses] * (v[units] - 1), -1, 1),
    }


def main():
    """Write both files."""
    for buses in PV:
        net = network(buses)
        data = tables(net, buses, np.random.default_rng(buses))
        rounded = {
            name: json.loads(
                json.dumps(played(net, buses, data, policy)), parse_float=lambda text: round(float(text), 8)
            )
            for name, policy in policies(buses).items()
        }
        names = ("load_mw", "load_mvar", "pv_mw")
        content = {
            "load_bus": (net.load["bus"] + 1).tolist(),
            **dict(zip(names, (x.tolist() for x in data), strict=True)),
        }
        path = HERE / f"mapdn_{buses}.json"
        path.write_text(json.dumps({"pandapower": pp.__version__, **content, "controllers": rounded}) + "\n")


if __name__ == "__main__":
    main()
