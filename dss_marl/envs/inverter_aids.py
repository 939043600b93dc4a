"""What inverters do by themselves for a learned policy, beside what it asks of them."""

from __future__ import annotations

from dataclasses import dataclass

from dss_marl.devices import GuardSpec
from dss_marl.devices.inverter import takes_shares
from dss_marl.envs.scenario import Scenario
from dss_marl.envs.training_settings import TrainingSettings


@dataclass(frozen=True)
class InverterAids:
    """Settings of inverters with which a policy learns and acts; the scenario of the references stays as it is.

    Attributes:
        guard: in place of the inverters' own; None: theirs.
        rest_share: likewise; 0: theirs.
    """

    guard: GuardSpec | None = None
    rest_share: float = 0.0

    @classmethod
    def of(cls, settings: TrainingSettings) -> InverterAids:
        """Those with which these settings let a policy learn."""
        return cls(settings.guard, settings.rest_share)

    @property
    def about(self) -> str:
        """What the policy has that the scenario as it stands has not; "" for nothing."""
        rests = f"inverters that rest without sun where asked for less than {self.rest_share:g} of their kvar"
        return "; ".join(
            words
            for words, given in ((self.guard.about if self.guard else "", self.guard), (rests, self.rest_share))
            if given
        )

    def applied(self, scenario: Scenario) -> Scenario:
        """The same task with these settings on every inverter of mode share.

        Raises:
            ValueError: there is no such inverter.
        """
        own: dict[str, object] = {"guard": self.guard.model_dump()} if self.guard else {}
        own |= {"rest_share": self.rest_share} if self.rest_share else {}
        if not own:
            return scenario
        if not any(map(takes_shares, scenario.devices)):
            raise ValueError(
                f"scenario {scenario.name!r} has no inverter of mode share, which {' and '.join(own)} is for; leave it "
                "out, or use inverters of this mode"
            )
        return scenario.replace(
            devices=[{**spec, **own} if takes_shares(spec) else dict(spec) for spec in scenario.devices]
        )
