"""Stands in for the vendor's command line: checks the words as documented, records them, leaves real files.

python tools.py NAME WORDS…: NAME is neuron-explorer, neuron-ls or nccom-test.
"""

import argparse
import json
import os
import shutil
import sys
import time
from pathlib import Path


def log(tool, **fields):
    names = ("NEURON_RT_VISIBLE_CORES", "NEURON_LOGICAL_NC_CONFIG")
    variables = {name: os.environ.get(name) for name in names}
    with Path(os.environ["STANDIN_LOG"]).open("a") as file:
        file.write(json.dumps({"tool": tool, "words": sys.argv[2:], "variables": variables, **fields}) + "\n")


def capture(words):
    parser = argparse.ArgumentParser(exit_on_error=True)
    parser.add_argument("-n", "--neff", required=True)
    parser.add_argument("-s", "--session-file", default="profile.ntff")
    parser.add_argument("--num-exec", type=int, default=1)
    parser.add_argument("--profile-nth-exec", type=int, default=1)
    parser.add_argument("--enable-dge-notifs", action="store_true")
    parser.add_argument("--save-output-npy", action="store_true")
    parser.add_argument("inputs", nargs="*")
    options = parser.parse_args(words)
    pairs = dict(zip(options.inputs[::2], options.inputs[1::2], strict=True))
    log("neuron-explorer", inputs={name: Path(path).stat().st_size for name, path in pairs.items()})
    core = os.environ["NEURON_RT_VISIBLE_CORES"]
    if core in os.environ.get("STANDIN_DEAD_CORES", "").split(","):
        sys.exit("NRT_EXEC_HW_ERR_NC: core " + core)
    if core in os.environ.get("STANDIN_HANGING_CORES", "").split(","):
        time.sleep(600)
    if options.save_output_npy:
        output = Path(os.environ["STANDIN_LOG"]).with_name("device_output.npy").read_bytes()
        wrong = core in os.environ.get("STANDIN_WRONG_CORES", "").split(",")
        header = 128  # of NumPy's format
        Path("output_0.npy").write_bytes(output[:header] + bytes(len(output) - header) if wrong else output)
    traces = os.environ["STANDIN_NTFF"].split(",")
    slow = core in os.environ.get("STANDIN_SLOW_CORES", "").split(",")
    stem = Path(options.session_file).with_suffix("")
    every = options.profile_nth_exec
    for execution in range(every, options.num_exec + 1, every):
        suffix = f"_exec_{execution}" if every > 1 else ""
        shutil.copy(traces[-1 if slow else 0], f"{stem}{suffix}.ntff")


def devices():
    log("neuron-ls")
    cores = int(os.environ.get("STANDIN_CORES", "4"))
    rows = [
        {
            "neuron_device": device,
            "nc_count": 2,
            "logical_neuroncore_config": 1,
            "neuroncore_ids": [2 * device, 2 * device + 1],
        }
        for device in range(cores // 2)
    ]
    sys.stdout.write(json.dumps(rows))


def collective(words):
    parser = argparse.ArgumentParser()
    parser.add_argument("-r", "--nworkers", type=int, required=True)
    parser.add_argument("-b", "--minbytes", type=int, required=True)
    parser.add_argument("-e", "--maxbytes", type=int, required=True)
    parser.add_argument("-d", "--datatype", default="uint8")
    parser.add_argument("--check", action="store_true")
    parser.add_argument("--report-to-json-file", required=True)
    parser.add_argument("operation", choices=["allr", "allg", "redsct"])
    options = parser.parse_args(words)
    log("nccom-test")
    if os.environ.get("STANDIN_COLLECTIVES") == "fail":
        sys.exit("1 errors found - test failed")
    row = {"size(B)": options.minbytes, "type": "fp32", "algbw(GB/s)": 40.0, "busbw(GB/s)": 60.0, "time:avg(us)": 800.0}
    Path(options.report_to_json_file).write_text(json.dumps({"results": [row]}))


def main():
    tool, words = sys.argv[1], sys.argv[2:]
    if tool == "neuron-explorer":
        if words[0] != "capture":
            sys.exit(f"unknown command {words[0]}")
        capture(words[1:])
    elif tool == "neuron-ls":
        if words != ["-j"]:
            sys.exit("expected -j")
        devices()
    else:
        collective(words)


main()
