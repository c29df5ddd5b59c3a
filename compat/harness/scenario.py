"""Scenarios: functions that raise when what they saw is not what it should be. One line each: pass, FAIL or skip."""

import argparse
import subprocess
import sys
import time
import traceback

from . import brokers, places

_ALL = []


class Skip(Exception):
    """The scenario cannot run here; the reason is printed and it is counted as skipped."""


def scenario(title, tier="quick"):
    """Marks a function as a scenario of the quick tier (which is in the full one too) or of the full tier only."""

    def mark(function):
        _ALL.append((title, tier, function))
        return function

    return mark


def check(condition, message):
    if not condition:
        raise AssertionError(message)


def equal(seen, expected, what):
    if seen != expected:
        raise AssertionError(f"{what}: {_short(seen)}, expected {_short(expected)}")


def _short(value):
    text = repr(value)
    return text if len(text) < 400 else text[:300] + f"... ({len(text)} characters)"


def arguments(description):
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--broker", choices=sorted(brokers.KINDS), default="barnabas", help="what is tested")
    parser.add_argument("--full", action="store_true", help="the full tier")
    parser.add_argument("--only", default="", help="scenarios whose title holds this")
    parser.add_argument("--list", action="store_true", help="prints the titles")
    return parser


def ended(context):
    """What a broker that is no more said last; of a cluster, which of its brokers run."""
    if hasattr(context, "check_all_run"):
        return "\n" + context.state()
    broker = getattr(context, "broker", context)
    process = getattr(broker, "process", None)
    if process is None or process.poll() is None:
        return ""
    return f"\nthe broker had ended with {process.returncode}:\n{broker.tail()}"


def run(group, options, make):
    """Runs all scenarios on `make()`'s value, and ends the script with 1 when one failed."""
    passed = failed = skipped = 0
    context = None
    for title, tier, function in _ALL:
        if options.only not in title or (tier == "full" and not options.full):
            continue
        if options.list:
            print(title)
            continue
        started = time.time()
        try:
            if context is None:
                context = make()
            function(context)
            if hasattr(context, "check_all_run"):
                context.check_all_run()
            outcome, detail = "pass", ""
            passed += 1
        except (Skip, places.Missing) as reason:
            outcome, detail = "skip", f": {reason}"
            skipped += 1
        except Exception as error:
            outcome, detail = "FAIL", f": {type(error).__name__}: {error}"
            if not isinstance(error, (AssertionError, subprocess.SubprocessError, RuntimeError, OSError)):
                detail += "\n" + traceback.format_exc()
            detail += ended(context)
            failed += 1
        if failed and hasattr(context, "start_all"):
            detail += context.start_all()
        print(f"{outcome} {group}: {title} ({time.time() - started:.1f} s){detail}", flush=True)
    if options.list:
        return
    print(f"{group}: {passed} passed, {failed} failed, {skipped} skipped", flush=True)
    sys.exit(1 if failed else 0)
