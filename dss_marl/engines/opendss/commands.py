"""OpenDSS's commands and settings: which of a circuit's file are carried out, and how."""

from __future__ import annotations

from collections.abc import Mapping

# In OpenDSS's order, because a shortened name stands for the first that begins like it.
RUN, INCLUDE, COORDINATES, SOLVE, SET, FOLDER = "run", "include", "coordinates", "solve", "set", "folder"
ASK = "ask"  # shows or tells: left out
WRITE = "write"  # writes a file, or steps through time: left out with a note
REFUSE = "refuse"
COMMANDS = {
    "new": RUN, "edit": RUN, "more": RUN, "m": RUN, "~": RUN, "select": RUN, "save": WRITE, "show": WRITE,
    "solve": SOLVE, "enable": RUN, "disable": RUN, "plot": WRITE, "reset": RUN, "compile": INCLUDE, "set": SET,
    "dump": WRITE, "open": RUN, "close": RUN, "//": RUN, "redirect": INCLUDE, "help": ASK, "quit": ASK, "?": ASK,
    "next": ASK, "panel": ASK, "sample": WRITE, "clear": RUN, "about": ASK, "calcvoltagebases": RUN, "setkvbase": RUN,
    "buildy": RUN, "get": ASK, "init": WRITE, "export": WRITE, "fileedit": ASK, "voltages": ASK, "currents": ASK,
    "powers": ASK, "seqvoltages": ASK, "seqcurrents": ASK, "seqpowers": ASK, "losses": ASK, "phaselosses": ASK,
    "cktlosses": ASK, "allocateloads": RUN, "formedit": ASK, "totals": ASK, "capacity": ASK, "classes": ASK,
    "userclasses": ASK, "zsc": ASK, "zsc10": ASK, "zscrefresh": ASK, "ysc": ASK, "puvoltages": ASK, "varvalues": ASK,
    "varnames": ASK, "buscoords": COORDINATES, "makebuslist": RUN, "makeposseq": REFUSE, "reduce": RUN,
    "interpolate": RUN, "alignfile": WRITE, "top": WRITE, "rotate": RUN, "vdiff": ASK, "summary": ASK,
    "distribute": WRITE, "di_plot": WRITE, "comparecases": WRITE, "yearlycurves": WRITE, "cd": FOLDER,
    "visualize": WRITE, "closedi": WRITE, "doscmd": REFUSE, "estimate": RUN, "reconductor": RUN, "_initsnap": WRITE,
    "_solvenocontrol": WRITE, "_samplecontrols": WRITE, "_docontrolactions": WRITE, "_showcontrolqueue": ASK,
    "_solvedirect": WRITE, "_solvepflow": WRITE, "addbusmarker": ASK, "uuids": ASK, "setloadandgenkv": RUN,
    "cvrtloadshapes": WRITE, "nodediff": ASK, "rephase": WRITE, "setbusxy": RUN, "updatestorage": WRITE,
    "obfuscate": RUN, "latlongcoords": COORDINATES, "batchedit": RUN, "pstcalc": ASK, "variable": ASK,
    "reprocessbuses": RUN, "clearbusmarkers": ASK, "relcalc": ASK, "var": RUN, "cleanup": WRITE,
    "finishtimestep": WRITE, "nodelist": ASK, "connect": ASK, "disconnect": ASK, "remove": RUN, "calcincmatrix": ASK,
    "calcincmatrix_o": ASK, "refine_buslevels": ASK, "calclaplacian": ASK, "exportoverloads": WRITE,
    "exportvviolations": WRITE, "zsc012": ASK, "allpceatbus": ASK, "allpdeatbus": ASK, "totalpowers": ASK,
    "giscoords": ASK, "clearall": RUN, "comhelp": ASK, "newactor": REFUSE, "wait": ASK, "solveall": WRITE,
    "abort": ASK, "clone": REFUSE,
}  # fmt: skip
WHY_REFUSED = {
    "makeposseq": "a positive-sequence circuit has one phase and its powers count thrice; leave the command out",
    "doscmd": "it runs a program of the operating system; leave it out",
    "newactor": "a file is one circuit; leave the command out",
    "clone": "a file is one circuit; leave the command out",
}

HONOUR = "honour"  # passed on, and in force in every solve
RESET = "reset"  # in force for what the file itself does, then the engine's own: see ``engine_settings``
KEEP = "keep"  # passed on; no steady-state solve depends on it
DROP = "drop"  # never passed on
DROP_NOTED = "drop, noted"  # never passed on, and said, because plain OpenDSS would answer otherwise
# ``set`` name: what becomes of it, and why. In OpenDSS's order, as above.
SETTINGS = {
    "type": (KEEP, "selects a class"),
    "element": (KEEP, "selects an element"),
    "hour": (RESET, "loads and units follow set points, not the clock"),
    "sec": (RESET, "as hour"),
    "year": (HONOUR, "growth of loads: in the Feeder's nominal powers"),
    "frequency": (HONOUR, "impedances are those of this frequency"),
    "stepsize": (RESET, "no time passes in an engine"),
    "mode": (DROP, "an engine solves one instant; another mode than snapshot leaves out the solves that follow"),
    "random": (DROP, "Monte Carlo modes alone"),
    "number": (RESET, "one solve at a time"),
    "time": (RESET, "as hour"),
    "class": (KEEP, "selects a class"),
    "object": (KEEP, "selects an element"),
    "circuit": (KEEP, "selects the only circuit"),
    "editor": (DROP, "none is opened"),
    "tolerance": (RESET, "the engine's"),
    "maxiterations": (RESET, "the engine's"),
    "h": (RESET, "as stepsize"),
    "loadmodel": (DROP_NOTED, "with admittances loads would not follow their set points; solved as a power flow"),
    "loadmult": (HONOUR, "in the Feeder's nominal powers, so the engine has 1"),
    "normvminpu": (DROP, "a limit for reports; crossed, OpenDSS would not solve"),
    "normvmaxpu": (DROP, "as normvminpu"),
    "emergvminpu": (DROP, "as normvminpu"),
    "emergvmaxpu": (DROP, "as normvminpu"),
    "%mean": (KEEP, "Monte Carlo modes alone"),
    "%stddev": (KEEP, "Monte Carlo modes alone"),
    "ldcurve": (KEEP, "load-duration modes alone"),
    "%growth": (HONOUR, "in the Feeder's nominal powers"),
    "genkw": (KEEP, "autoadd mode alone"),
    "genpf": (KEEP, "autoadd mode alone"),
    "capkvar": (KEEP, "autoadd mode alone"),
    "addtype": (KEEP, "autoadd mode alone"),
    "allowduplicates": (HONOUR, "doubled elements are then refused with their names"),
    "zonelock": (KEEP, "zones of energy meters, which nobody reads"),
    "ueweight": (KEEP, "autoadd mode alone"),
    "lossweight": (KEEP, "autoadd mode alone"),
    "ueregs": (KEEP, "autoadd mode alone"),
    "lossregs": (KEEP, "autoadd mode alone"),
    "voltagebases": (HONOUR, "the buses' bases; computed where the file has none"),
    "algorithm": (DROP, "the engine's fixed-point iteration finds the same solution"),
    "trapezoidal": (KEEP, "registers of energy meters"),
    "autobuslist": (KEEP, "autoadd mode alone"),
    "controlmode": (RESET, "controls act where a solve asks for them"),
    "tracecontrol": (DROP, "writes a file"),
    "genmult": (HONOUR, "power of the circuit's own generators"),
    "defaultdaily": (HONOUR, "the elements' own shapes"),
    "defaultyearly": (HONOUR, "the elements' own shapes"),
    "allocationfactors": (HONOUR, "sets the loads' powers at once"),
    "cktmodel": (REFUSE, "a positive-sequence circuit has one phase and its powers count thrice; give the circuit in "
                 "phases"),
    "pricesignal": (KEEP, "dispatch by price alone, which never acts"),
    "pricecurve": (KEEP, "as pricesignal"),
    "terminal": (KEEP, "selects a terminal"),
    "basefrequency": (HONOUR, "frequency of the file's impedances"),
    "harmonics": (KEEP, "harmonics mode alone"),
    "maxcontroliter": (RESET, "the engine's"),
    "bus": (KEEP, "selects a bus"),
    "datapath": (FOLDER, "where the file's other files are"),
    "keeplist": (HONOUR, "of the command reduce"),
    "reduceoption": (HONOUR, "of the command reduce"),
    "demandinterval": (DROP, "writes files"),
    "%normal": (HONOUR, "sets the lines' ratings at once"),
    "diverbose": (DROP, "writes files"),
    "casename": (DROP, "folder of files that are not written"),
    "markercode": (KEEP, "plots"),
    "nodewidth": (KEEP, "plots"),
    "log": (DROP, "writes a file"),
    "recorder": (DROP, "writes a file"),
    "overloadreport": (DROP, "writes files"),
    "voltexceptionreport": (DROP, "writes files"),
    "cfactors": (HONOUR, "sets the loads' powers at once"),
    "showexport": (DROP, "opens an editor"),
    "numallociterations": (HONOUR, "of the commands allocateloads and estimate"),
    "defaultbasefrequency": (HONOUR, "frequency of the file's impedances"),
    "markswitches": (KEEP, "plots"),
    "switchmarkercode": (KEEP, "plots"),
    "daisysize": (DROP, "plots; outlives the circuit"),
    "marktransformers": (KEEP, "plots"),
    "transmarkercode": (KEEP, "plots"),
    "transmarkersize": (KEEP, "plots"),
    "loadshapeclass": (KEEP, "time and dynamic modes alone"),
    "earthmodel": (HONOUR, "impedances of lines from their geometry"),
    "querylog": (DROP, "writes a file"),
    "markcapacitors": (KEEP, "plots"),
    "markregulators": (KEEP, "plots"),
    "markpvsystems": (KEEP, "plots"),
    "markstorage": (KEEP, "plots"),
    "capmarkercode": (KEEP, "plots"),
    "regmarkercode": (KEEP, "plots"),
    "pvmarkercode": (KEEP, "plots"),
    "storemarkercode": (KEEP, "plots"),
    "capmarkersize": (KEEP, "plots"),
    "regmarkersize": (KEEP, "plots"),
    "pvmarkersize": (KEEP, "plots"),
    "storemarkersize": (KEEP, "plots"),
    "neglectloady": (KEEP, "harmonics mode alone"),
    "markfuses": (KEEP, "plots"),
    "fusemarkercode": (KEEP, "plots"),
    "fusemarkersize": (KEEP, "plots"),
    "markreclosers": (KEEP, "plots"),
    "reclosermarkercode": (KEEP, "plots"),
    "reclosermarkersize": (KEEP, "plots"),
    "registryupdate": (DROP, "Windows alone"),
    "markrelays": (KEEP, "plots"),
    "relaymarkercode": (KEEP, "plots"),
    "relaymarkersize": (KEEP, "plots"),
    "processtime": (DROP, "a measurement"),
    "totaltime": (DROP, "a measurement"),
    "steptime": (DROP, "a measurement"),
    "sampleenergymeters": (KEEP, "energy meters, which nobody reads"),
    "miniterations": (RESET, "the engine's"),
    "dssvisualizationtool": (DROP, "opens a program"),
    "keepload": (HONOUR, "of the command reduce"),
    "zmag": (HONOUR, "of the command reduce"),
    "seasonrating": (DROP_NOTED, "loadings are over the normal ratings; outlives the circuit"),
    "seasonsignal": (DROP, "as seasonrating"),
    "linetypes": (KEEP, "names of kinds of line"),
    "eventlogdefault": (DROP, "a log that nobody reads; outlives the circuit"),
    "longlinecorrection": (HONOUR, "impedances of lines"),
    "showreports": (DROP, "opens an editor"),
    "numcpus": (DROP, "a measurement"),
    "numcores": (DROP, "a measurement"),
    "numactors": (DROP, "one circuit in one thread"),
    "activeactor": (DROP, "one circuit in one thread"),
    "cpu": (DROP, "one circuit in one thread"),
    "actorprogress": (DROP, "one circuit in one thread"),
    "parallel": (DROP, "one circuit in one thread; outlives the circuit"),
    "concatenatereports": (DROP, "reports are not written; outlives the circuit"),
    "numanodes": (DROP, "a measurement"),
}  # fmt: skip


def complete(name: str, table: Mapping[str, object]) -> str | None:
    """The command or setting that a name, which may be shortened, stands for; None where there is none."""
    name = name.lower()
    if name in table:
        return name
    return next((known for known in table if known.startswith(name)), None) if name else None


FOLLOW_SHAPES = "set mode=daily number=1 stepsize=1h controlmode=off hour=0 sec=0 loadmult=1"


def engine_settings(tolerance: float, max_iterations: int) -> list[str]:
    """Commands that put what is RESET at the engine's own values; FOLLOW_SHAPES comes after the solves that set it up.

    Args:
        tolerance: of the iteration [1].
        max_iterations: of one power flow.
    """
    return [
        "set mode=snapshot controlmode=off",
        f"set tolerance={tolerance:g} maxiterations={max_iterations} maxcontroliter=100 miniterations=2",
    ]
