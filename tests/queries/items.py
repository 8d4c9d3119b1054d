"""Items that are easily confused; two of them are the same recording as `QUO`."""

from tests.indexed_log import CatalogItem

QUO = CatalogItem("track:quo", "Veridis Quo", ["Daft Punk"], "Discovery", "d", "GBDUW0000061")
QUO_AGAIN = CatalogItem("track:again", "Veridis Quo", ["Daft Punk"], "Deluxe", "e", "gbduw0000061")
LIVE = CatalogItem("track:live", "Veridis Quo (Live)", ["Daft Punk"], "Alive", "a", "gbduw0000061")
AERODYNAMIC = CatalogItem("track:aero", "Aérodynamic", ["Daft Punk"], "Discovery", "d", "GBDUW0000055")
SEXY = CatalogItem("track:sexy", "Sexy Boy", ["Air"], "Moon Safari", "m", "FRZ")
DUET = CatalogItem("track:duet", "Duet", ["Air", "Beck"], "Hits", "h", "FRY")
LOSER = CatalogItem("track:loser", "Loser", ["Beck"], "Hits", "h", "FRX")
EPISODE = CatalogItem("episode:e", "On Daft Punk", [], "A Show")
