"""`safegen spm`: train, evaluate, calibrate, list, show, verify and exchange SPM adapters.

Exit codes: 0 done, 1 error or a digest that does not hold, 2 usage, 130 interrupted.
"""

from __future__ import annotations

import typer

from safegen.cli.spm_calibrate import calibrate
from safegen.cli.spm_evaluate import evaluate
from safegen.cli.spm_exchange import export_adapter, import_adapter
from safegen.cli.spm_registry import list_adapters, show_adapter, verify
from safegen.cli.spm_train import train

app = typer.Typer(no_args_is_help=True, help="SPM adapters: train, evaluate, calibrate, list, show, verify, exchange.")
app.command("train")(train)
app.command("evaluate")(evaluate)
app.command("list")(list_adapters)
app.command("show")(show_adapter)
app.command("verify")(verify)
app.command("calibrate")(calibrate)
app.command("import")(import_adapter)
app.command("export")(export_adapter)
