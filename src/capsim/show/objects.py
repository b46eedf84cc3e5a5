"""What each class shows in a notebook: its card, and its plots."""

from __future__ import annotations

from capsim.base.display import register
from capsim.show import html_repr as cards
from capsim.show.plots.objects import BillPlots, ComparisonPlots, FindingPlots, ResultPlots, SweepPlots, TracePlots
from capsim.show.plots.run import RunPlots

register("Bill", card=cards.bill_card, plots=BillPlots)
register("Comparison", card=lambda comparison: cards.results_card(comparison.results), plots=ComparisonPlots)
register("Finding", card=cards.finding_card, plots=FindingPlots)
register("Findings", card=cards.findings_card)
register("Result", card=lambda result: cards.results_card([result]), plots=ResultPlots)
register("Run", card=cards.run_card, plots=RunPlots)
register("Scenario", card=cards.scenario_card)
register("Sweep", card=lambda table: cards.sweep_card(table, table.keys_varied, table.figures), plots=SweepPlots)
register("Trace", card=cards.trace_card, plots=TracePlots)
