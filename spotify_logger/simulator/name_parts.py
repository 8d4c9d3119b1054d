"""The words and names that made-up artists, albums and titles are built from."""

from __future__ import annotations

FIRST_WORDS = [
    "Amber",
    "Paper",
    "Slow",
    "Northern",
    "Hollow",
    "Velvet",
    "Quiet",
    "Copper",
    "Borrowed",
    "Electric",
    "Salt",
]
LAST_WORDS = [
    "Harbour",
    "Orchard",
    "Lanterns",
    "Parade",
    "Engine",
    "Meadow",
    "Signal",
    "Tides",
    "Winter",
    "Balcony",
    "Hours",
]

ARTISTS = ["Sigrún & Þór", "東京ノクターン", "Оркестр Тишины", "The The Band", "Beyza Çelik", "Mañana"]
SPEAKERS = ["Ines Vale", "Tomáš Dvorný", "Mei-Ling Orr"]

TITLES = [
    "Café Minuit",
    "Naïve Étude",
    "Göteborg bei Nacht",
    "Ålesund",
    "São João",
    "Señal Perdida",
    "Żółty liść",
]
TITLES += [
    "夜の川",
    "雨のプラットホーム",
    "Тихий снег",
    "Μακρύς δρόμος",
    "별이 지는 밤",
    "ليل طويل",
    "לילה ארוך",
    "เพลงฝน",
]
TITLES += [
    "🌊",
    "Summer ☀️ Rain 🌧️",
    "AC/DC?",
    "100% Sure: Yes",
    'The "Quoted" One',
    "Rock & Roll <live>",
    "Intro",
]

LONG_TITLE = (
    "Concerto for Two Pianos, Wind Machine and Typewriter in E-flat minor, Op. 57 No. 3: IV. Allegro ma non "
    "troppo, quasi una passeggiata - Recorded Live at the Old Customs House, Second Night, Remastered, with "
    "the Original Ending and the Applause That Followed It"
)

SERIES_NAMES = ["Variation", "Prelude", "Interlude"]
"""Base titles of albums whose track titles differ only by a number."""
