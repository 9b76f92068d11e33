"""Metrics of the Python process itself: CPU, memory, threads, garbage collection.

The instrumentation that OpenTelemetry has for these needs psutil, which is native code for one C library and one Python; agents
must run under all of them. What is asked for here comes from the standard library and from /proc, under the names of the
semantic conventions. Never raises into the application: a figure that cannot be read is left out.
"""

import gc
import os
import threading

from opentelemetry.instrumentation.instrumentor import BaseInstrumentor
from opentelemetry.metrics import Observation, get_meter

_PAGE = os.sysconf("SC_PAGE_SIZE") if hasattr(os, "sysconf") else 4096


def _cpu_time(_options):
    times = os.times()
    yield Observation(times.user, {"cpu.mode": "user"})
    yield Observation(times.system, {"cpu.mode": "system"})


def _pages(field):
    try:
        with open("/proc/self/statm", encoding="ascii") as file:
            yield Observation(int(file.read().split()[field]) * _PAGE)
    except (OSError, ValueError, IndexError):
        return


def _memory(_options):
    return _pages(1)


def _virtual(_options):
    return _pages(0)


def _threads(_options):
    yield Observation(threading.active_count())


def _descriptors(_options):
    try:
        yield Observation(len(os.listdir("/proc/self/fd")))
    except OSError:
        return


def _collections(_options):
    for generation, counts in enumerate(gc.get_stats()):
        yield Observation(counts["collections"], {"cpython.gc.generation": generation})


def _collected(_options):
    for generation, counts in enumerate(gc.get_stats()):
        yield Observation(counts["collected"], {"cpython.gc.generation": generation})


class RuntimeMetrics(BaseInstrumentor):
    """Found by its entry point, as every instrumentation is; OTEL_PYTHON_DISABLED_INSTRUMENTATIONS may name it."""

    def instrumentation_dependencies(self):
        return ()

    def _instrument(self, **kwargs):
        meter = get_meter("odigos.runtime", "1.0", kwargs.get("meter_provider"))
        meter.create_observable_counter("process.cpu.time", [_cpu_time], "s", "CPU time of the process")
        meter.create_observable_up_down_counter("process.memory.usage", [_memory], "By", "Physical memory in use")
        meter.create_observable_up_down_counter("process.memory.virtual", [_virtual], "By", "Virtual memory")
        meter.create_observable_up_down_counter("process.thread.count", [_threads], "{thread}", "Threads of Python")
        meter.create_observable_up_down_counter(
            "process.unix.file_descriptor.count", [_descriptors], "{file_descriptor}", "Open file descriptors"
        )
        meter.create_observable_counter(
            "cpython.gc.collections", [_collections], "{collection}", "Runs of the garbage collector"
        )
        meter.create_observable_counter("cpython.gc.collected_objects", [_collected], "{object}", "Objects it freed")

    def _uninstrument(self, **kwargs):
        """Instruments go with their provider."""
