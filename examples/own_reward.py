"""Your own reward term: a function of a zone and the states around the step."""

import dss_marl


def quiet_inverters(zone, before, after):
    """Reactive power of the zone's inverters, negated [Mvar]."""
    return -abs(after.setpoints.kvar[zone.units]).sum() / 1000


if __name__ == "__main__":
    env = dss_marl.make(
        "ieee34_volt_var", rewards={"voltage_violation": 100, "loss": 1, f"{__name__}:quiet_inverters": 0.5}
    )
    env.reset(seed=0)
    _, rewards, _, _, infos = env.step({agent: env.action_space(agent).high for agent in env.agents})
    print(rewards["zone_1"], {name: value for name, value in infos["zone_1"].items() if name.startswith("reward/")})
    env.close()
