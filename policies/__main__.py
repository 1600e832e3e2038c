"""The policy pack, as `pulumi preview --policy-pack policies` runs it."""

import sys
from pathlib import Path

from pulumi_policy import EnforcementLevel, PolicyPack

# The Pulumi CLI starts this file with only its own folder on the path.
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from policies.pack import POLICIES

PolicyPack(name="lightwave", enforcement_level=EnforcementLevel.MANDATORY, policies=POLICIES)
