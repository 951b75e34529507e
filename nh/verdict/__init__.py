"""Verdicts: for each direction of a call, whether its media flow, and if not, why; made from a CallDetail.

A rule looks at one direction and says what is so, the likely cause and what to do. The first rule that
applies gives the verdict: rules about what never came stand before those about what went wrong. Pure.
"""

from nh.verdict.judge import RULES, CallVerdict, Ending, Verdict, judge_call
from nh.verdict.ruling import State

__all__ = ["RULES", "CallVerdict", "Ending", "State", "Verdict", "judge_call"]
