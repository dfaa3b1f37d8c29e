"""The software and the hardware that produced a result."""

import platform
from importlib import metadata

import vaezoo
from vaezoo.hardware import describe_devices

PACKAGES = ("tensorflow", "keras", "tensorflow-probability", "tensorflow-datasets", "numpy")


def versions():
    """The versions of Python and the packages, the platform and the device: name → text."""
    return {
        "vaezoo": vaezoo.__version__,
        "python": platform.python_version(),
        **{package: metadata.version(package) for package in PACKAGES},
        "platform": platform.platform(),
        "device": describe_devices(),
    }
