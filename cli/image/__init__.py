"""`scenerep image encode | decode | info | compare`."""

from __future__ import annotations

from tyro.extras import SubcommandApp

from scenerep.cli.image.compare import compare
from scenerep.cli.image.decode import decode
from scenerep.cli.image.encode import encode
from scenerep.cli.image.info import info

app = SubcommandApp()
app.command(name="encode")(encode)
app.command(name="decode")(decode)
app.command(name="info")(info)
app.command(name="compare")(compare)
