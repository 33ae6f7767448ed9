"""What pyproject.toml cannot say: the recipes in configs/ are the package asr_ctc.recipes."""

from setuptools import find_packages, setup

setup(
    packages=[*find_packages(include=["asr_ctc", "asr_ctc.*"]), "asr_ctc.recipes"],
    package_dir={"asr_ctc.recipes": "configs"},
    package_data={
        "asr_ctc": ["py.typed"],
        "asr_ctc.inspection": ["page.css", "page.js"],
        "asr_ctc.recipes": ["*.yaml"],
    },
)
