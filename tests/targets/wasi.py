"""Runs a program for wasm32-wasip1, which has the folder of the project and that for temporary files: wasi.py PROGRAM ARGUMENT..."""

import os
import sys
import tempfile

import wasmtime

engine = wasmtime.Engine()
linker = wasmtime.Linker(engine)
linker.define_wasi()
wasi = wasmtime.WasiConfig()
wasi.argv = sys.argv[1:]
wasi.env = [(name, value) for name, value in os.environ.items() if name != "TMPDIR"] + [("TMPDIR", tempfile.gettempdir())]
wasi.inherit_stdout()
wasi.inherit_stderr()
for folder in {os.getcwd(), tempfile.gettempdir()}:
    wasi.preopen_dir(folder, folder)
wasi.preopen_dir(os.getcwd(), ".")
store = wasmtime.Store(engine)
store.set_wasi(wasi)
try:
    linker.instantiate(store, wasmtime.Module.from_file(engine, sys.argv[1])).exports(store)["_start"](store)
except wasmtime.ExitTrap as exit:
    sys.exit(exit.code)
