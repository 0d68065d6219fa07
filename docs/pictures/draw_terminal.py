"""Draws `terminal.svg`: what a terminal shows of a payment, its receipt, and a forged one.

    latticebank up
    python docs/pictures/draw_terminal.py     (in another terminal; LATTICEBANK_DATA as for the bank)

The commands are run, and what they say is drawn; lines that are too long for a picture end with `...`.
"""

import json
import subprocess
from io import StringIO
from pathlib import Path
from tempfile import TemporaryDirectory

from rich.console import Console
from rich.terminal_theme import MONOKAI
from rich.text import Text

COLUMNS = 104
STYLES = {"  holds": "green", "  FAULT": "bold red", "SOUND": "bold green", "NOT SOUND": "bold red", "  note": "yellow"}
FRAME = """<svg class="rich-terminal" viewBox="0 0 {width} {height}" xmlns="http://www.w3.org/2000/svg">
<style>
.{unique_id}-matrix {{ font-family: ui-monospace, SFMono-Regular, Menlo, Consolas, monospace; font-size: {char_height}px;
  line-height: {line_height}px; }}
{styles}
</style>
<defs>
<clipPath id="{unique_id}-clip-terminal"><rect x="0" y="0" width="{terminal_width}" height="{terminal_height}"/></clipPath>
{lines}
</defs>
{chrome}
<g transform="translate({terminal_x}, {terminal_y})" clip-path="url(#{unique_id}-clip-terminal)">
{backgrounds}
<g class="{unique_id}-matrix">
{matrix}
</g></g>
</svg>
"""

folder = TemporaryDirectory()
console = Console(record=True, width=COLUMNS, file=StringIO(), highlight=False)


def said(command: str) -> str:
    """Run a command in the folder and return what it says, on either stream."""
    shell = ["/usr/bin/env", "bash", "-c", f"{{ {command}; }} 2>&1"]
    return subprocess.run(shell, cwd=folder.name, stdout=subprocess.PIPE, text=True, timeout=120, check=False).stdout


def draw(command: str) -> None:
    """Run a command and draw it, with what it says."""
    console.print(Text(f"$ {command}", style="bold"))
    for line in said(command).splitlines():
        cut = line if len(line) <= COLUMNS else f"{line[: COLUMNS - 3]}..."
        console.print(Text(cut, style=next((STYLES[each] for each in STYLES if line.startswith(each)), "")))
    console.print()


people = {each["name"]: each for each in json.loads(said("latticebank demo people --json"))}
grocer = people["grocer"]["account"]
draw(f"latticebank demo as ada transfer {grocer} 12.34 --to 'Corner Grocery'")
payment = json.loads(said("latticebank demo as ada history --limit 1 --json"))[0]["id"]
said("latticebank log policy > bank.policy")
draw(f"latticebank demo as ada receipt {payment} --out paid.json")
draw("latticebank verify paid.json --policy bank.policy")
said(r"sed 's/12\.34/92.34/' paid.json > forged.json")
draw("latticebank verify forged.json --policy bank.policy")
picture = console.export_svg(title="latticebank", theme=MONOKAI, code_format=FRAME, unique_id="terminal")
(Path(__file__).parent / "terminal.svg").write_text(picture)
folder.cleanup()
