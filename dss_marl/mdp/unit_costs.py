"""What things cost in the shipped scenarios: one value for each, the range in the literature, and its sources."""

from __future__ import annotations

from dataclasses import dataclass

DOLLARS = 10.0  # that 1 of reward stands for in every shipped scenario
LITRES_PER_KWH = 0.27  # of diesel, at the best point of a set of some hundred kW


@dataclass(frozen=True)
class UnitCost:
    """A unit cost.

    Attributes:
        meaning: what is paid for.
        dollars: the value used.
        unit: that it is per.
        low, high: range in the literature.
        why: how the value follows from the sources.
        sources: published figures, each with where it stands.
    """

    meaning: str
    dollars: float
    unit: str
    low: float
    high: float
    why: str
    sources: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.dollars:g} $/{self.unit}"


_ICE = (
    "Sullivan, Schellenberg, Blundell: Updated Value of Service Reliability Estimates for Electric Utility Customers "
    "in the United States, LBNL-6941E, 2015, summary tables, the data of the ICE calculator: an hour's interruption "
    "costs 3.3 $ per unserved kWh at homes, 22 $ at medium and large businesses, 295 $ at small businesses"
)
_ERCOT = (
    "Public Utility Commission of Texas, 2024, on the survey of the Brattle Group: 35.7 $/kWh, mean of all customers "
    "(https://utilitydive.com/news/texas-power-outages-cost-consumers-VOLL/726807)"
)
_MISO = (
    "MISO, MSC-2019-1, 2024: price of shed load, reduced to 5 $/kWh after four hours of it "
    "(https://www.misoenergy.org/engage/stakeholder-feedback/2024/"
    "msc-pricing-circuit-breakers-for-extended-duration-eea3-energy-shortage-events-msc-2019-1-20240709)"
)
_DIESEL = (
    "U.S. Energy Information Administration, weekly retail prices of diesel: mean of 2024 3.76 $/gallon, 0.99 $/l "
    "(https://www.eia.gov/petroleum/gasdiesel)"
)
_LAZARD = (
    "Lazard: Levelized Cost of Energy+, version 17, June 2024: 0.122 to 0.284 $/kWh on homes, 0.054 to 0.191 on "
    "businesses, 0.029 to 0.092 in parks (https://www.intersolar.us/news-insights/industry-news/"
    "report-solar-lands-close-second-as-cheapest-source-of-power-generation)"
)

UNIT_COSTS: dict[str, UnitCost] = {
    "energy": UnitCost(
        "energy from the grid and losses, where no price series is used",
        80, "MWh", 30, 160,
        "a wholesale price, as in central Europe; generated price series have a mean of about 82 $/MWh",
        ("Bundesnetzagentur, SMARD, 2 January 2025: mean day-ahead price in Germany 78.5 EUR/MWh in 2024, 95.2 in 2023 "
            "(https://smard.de/page/home/topic-article/444/215556)",),
    ),
    "lost_load": UnitCost(
        "energy not served to a normal load: mostly homes",
        5, "kWh", 1.3, 36,
        "homes with some businesses among them; at the lower end, so that an hour's outage and a day's both fit",
        (_ICE, _MISO, _ERCOT),
    ),
    "lost_load_important": UnitCost(
        "energy not served to an important load: businesses",
        15, "kWh", 12, 300,
        "three times a normal load: medium and large businesses, for interruptions of some hours",
        (_ICE, _ERCOT),
    ),
    "lost_load_critical": UnitCost(
        "energy not served to a critical load: hospitals, water, communication",
        50, "kWh", 30, 500,
        "ten times a normal load; above the mean of all customers, far below small businesses",
        (_ICE, _ERCOT),
    ),
    "battery_wear": UnitCost(
        "energy into or out of a battery, each way",
        25, "MWh", 6, 85,
        "price over twice the cycles: 300 $/kWh and 6000 full cycles; 6 $ with a pack alone replaced at 70 $/kWh, 85 $ "
        "for a home's system at 1000 $/kWh",
        (
            "BloombergNEF: Energy Storage System Cost Survey 2024: turnkey systems 165 $/kWh; Battery Price Survey "
            "2025: stationary packs 70 $/kWh",
            "NREL: Annual Technology Baseline 2024, utility-scale batteries of four hours: some 330 $/kWh installed "
            "(https://atb.nrel.gov/electricity/2024/utility-scale_battery_storage)",
            "cycle life of 6000 at 80 to 100 % depth is what makers of lithium iron phosphate cells usually warrant",
        ),
    ),
    "tap_move": UnitCost(
        "a step of a regulator",
        0.1, "move", 0.02, 1,
        "a regulator of 20,000 $ (own estimate) whose contacts last 200,000 moves; a substation's costs more",
        ("IEC 60214-1: tap changers are tested with 50,000 moves under load and 500,000 without",),
    ),
    "capacitor_operation": UnitCost(
        "switching a capacitor bank on or off",
        1, "operation", 0.3, 5,
        "three vacuum switches at 10,000 $ with their control (own estimate) over 10,000 operations",
        (
            "reclosers are rated for 2,000 to 10,000 operations, capacitor switches for as many or more "
            "(https://fieldiqx.com/blog/recloser-operation-count-wear-modeling.html)",
        ),
    ),
    "switch_operation": UnitCost(
        "opening or closing a line switch",
        1, "operation", 1, 10,
        "the least that a remote-controlled switch of 10,000 $ and more (own estimate) costs over its 2,000 to 10,000 "
        "operations; a higher value needs a reason, such as a crew's visit",
        (
            "reclosers are rated for 2,000 to 10,000 operations "
            "(https://fieldiqx.com/blog/recloser-operation-count-wear-modeling.html)",
        ),
    ),
    "crew_hour": UnitCost(
        "an hour of a line crew of two with a bucket truck",
        150, "hour", 100, 400,
        "two line workers at 41.30 $/h and as much again by 40 % for benefits, and a truck at 30 $/h (own estimate); "
        "overtime and contractors cost more; an assessor alone with a car counts half",
        (
            "U.S. Bureau of Labor Statistics, Occupational Employment and Wage Statistics, May 2023: electrical "
            "power-line installers and repairers, mean wage 41.30 $/h (https://www.bls.gov/oes/2023/may/oes499051.htm)",
        ),
    ),
    "curtailed_pv": UnitCost(
        "PV energy that a household may not feed in",
        0.1, "kWh", 0.029, 0.284,
        "between what a household's kWh costs and what it is paid for it; a park's is nearer to 0.05",
        (_LAZARD, "Renewable Energy Sources Act, Germany, from August 2024: 0.080 EUR/kWh fed in, up to 10 kW"),
    ),
    "diesel_fuel": UnitCost(
        "diesel", 1.2, "l", 0.9, 2.0, "the retail price, and a fifth more for delivery to a site", (_DIESEL,)
    ),
    "diesel_energy": UnitCost(
        "energy from a diesel generator",
        1000 * 1.2 * LITRES_PER_KWH, "MWh", 240, 700,
        f"1.2 $/l times {LITRES_PER_KWH:g} l/kWh, which small sets and low load exceed",
        (
            _DIESEL,
            "consumption by size and load: 0.27 l/kWh from 200 to 1000 kW at full load, 0.36 at a quarter of it and "
            "200 kW (https://oer.enviraj.com/general/diesel-generator-fuel-consumption-chart)",
        ),
    ),
    "device_energy": UnitCost(
        "energy missing in a car at departure, or owed to a flexible load",
        1, "kWh", 0.3, 2,
        "public fast charging, and as much again for the detour; what emergency programmes pay for a kWh not drawn",
        (
            "Stable Auto, second quarter of 2024: mean price of public fast charging in the United States 0.46 $/kWh "
            "(https://stable.auto/insights/electric-vehicle-charger-price-by-state)",
            "California Public Utilities Commission, Emergency Load Reduction Program: 2 $/kWh by D.21-12-015, 1 $/kWh "
            "for homes by D.23-12-005 (https://www.cpuc.ca.gov/industries-and-topics/electrical-energy/electric-costs/"
            "demand-response-dr/emergency-load-reduction-program-data-and-information)",
        ),
    ),
    "import_excess": UnitCost(
        "import above the feeder's limit",
        1, "kWh", 0.3, 5,
        "a demand charge of 15 $/kW and month over some 15 hours at which the limit binds",
        (
            "McLaren et al.: Identifying Potential Markets for Behind-the-Meter Battery Energy Storage, "
            "NREL/BR-6A20-68963, 2017: five million businesses in the United States could pay more than 15 $/kW",
        ),
    ),
}  # fmt: skip
