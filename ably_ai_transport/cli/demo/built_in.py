"""Built-in replies, which need neither a model nor a recording."""

import re

from ably_ai_transport_vercel import UIMessageChunk
from ably_ai_transport_vercel.adapters import ReplyWriter

from ably_ai_transport.cli.demo.replies import Reply

_FERRY = (
    """
The person wants a plan for one day in Lisbon without a car. Start at the river, keep the hills for the
cool hours, and leave the evening open.
""",
    """
Start at Cais do Sodré before nine, when the ferries still carry people to work. Cross to Cacilhas and
back: it costs less than a coffee, and the whole city lies in front of you on the way home.

Then walk up through Chiado while the streets are in the shade. Have breakfast standing at a counter, as
everybody does, and take the small stairs behind the theatre rather than the lift that everyone queues
for.

By noon it is too warm for hills. Take the train along the river to Belém, and go to the tile museum's
little sister there instead of the monastery; the line is shorter and the courtyard has a fountain. Eat
a custard tart while it is hot. Eat a second one.

In the afternoon ride tram 24 instead of the famous 28. It climbs the same slopes, squeaks just as well,
and you will find a seat. Get off at Príncipe Real and sit under the old cedar until the light turns
yellow.

For the evening cross to Alfama on foot. Do not book a show: wait until you hear a guitar through an
open door, and go in there. If nobody sings on that night, the viewpoint above the station is open,
free, and never quiet.

Bring shoes with a good grip. The paving is polished by two hundred years of feet, and it is steeper
than it looks.
""",
)

_LIGHTHOUSE = (
    "",
    """
The lighthouse at Gull Point had two keepers, and they had not spoken since the spring. It was about the
weather log. Maren wrote what she saw; Iven wrote what he thought would come; and one morning in April
they had found each other's handwriting on the same line.

So they divided the day. She took the light from dusk until two, he from two until the sun was up, and
on the stairs, where they met, each looked at the wall. The lamp did not mind. It turned as it had
turned for ninety years, eleven seconds to the round, and the ships went by and knew where they were.

In October the fog came and stayed. On the third night the wire to the mainland went dead, and on the
fourth the horn began to cough. Maren heard it from her bed, and counted: eleven seconds, then twelve,
then eleven, then nothing at all. She went up. Iven stood at the compressor with his sleeves rolled, and
without turning round he held out his hand, and she put the right spanner into it.

They worked until four. When the horn spoke again, a smaller one answered, close under the rocks, much
closer than anything should be, and then slowly went about and drew away to the west.

In the log that night there are two hands on one line, as there had been in April. The first says: fog,
no wind, a fishing boat inshore, gone safe at four. And the second: clearing by morning. And it was.

After that they talked again, though never about the weather.
""",
)

_BREAD = (
    """
They ask why bread gets stale faster in a refrigerator. That is retrogradation of starch, not drying; I
should correct the usual explanation first.
""",
    """
Because staleness is not dryness. A loaf that is wrapped so tightly that it loses no water at all goes
stale on the same day as one that lies open; it merely stays soft-skinned while it does so.

What happens is slower and stranger. In the oven the starch of the flour swells, takes up water and
loses its order: its long molecules let go of each other, and that is what makes a fresh crumb tender.
From the moment that the bread cools they begin to find their places again. Chain lies down beside
chain, crystals form, the water is pushed out to where it does no good, and the crumb turns firm and
tastes of cardboard.

Crystals of this kind grow best a little above freezing. Too warm, and the molecules move too much to
settle; too cold, and they do not move at all. A refrigerator, at four degrees, is very nearly the worst
place in the house: a loaf in there ages about three times as fast as on the table.

The freezer is on the other side of that valley. Below minus fifteen nothing moves any more, so bread
that is frozen on the day it was baked is still that day's bread a month later.

And it can be undone. Heat melts the crystals, which is why toast is good, and why a stale roll that is
sprinkled with water and put into a hot oven for five minutes comes out fresh. It works once. By the
second time there is not enough water left to share out.
""",
)

QUESTIONS = (
    "I have one day in Lisbon and no car. What would you do?",
    "Tell me a story about two lighthouse keepers.",
    "Why does bread get stale faster in the refrigerator?",
)

_LINE_BREAK = re.compile(r"(?<!\n)\n(?!\n)")
_TOKEN = re.compile(r"\s*\w{1,7}|\s*[^\w\s]+|\s+")


def built_in_replies() -> list[Reply]:
    """Return the replies."""
    replies = (_FERRY, _LIGHTHOUSE, _BREAD)
    return [
        Reply(question, tuple(_chunks(thought, text)))
        for question, (thought, text) in zip(QUESTIONS, replies, strict=True)
    ]


def tokens_of(text: str) -> list[str]:
    """Split a text into pieces of about the size of a model's tokens. Joined, they are the text."""
    return _TOKEN.findall(text)


def _unwrap(text: str) -> str:
    """Join the lines of each paragraph."""
    return _LINE_BREAK.sub(" ", text.strip())


def _chunks(thought: str, text: str) -> list[UIMessageChunk]:
    writer = ReplyWriter()
    chunks = [
        chunk
        for token in tokens_of(_unwrap(thought))
        for chunk in writer.piece("reasoning", "thought", token)
    ]
    chunks += writer.end("thought")
    chunks += [chunk for token in tokens_of(text) for chunk in writer.piece("text", "reply", token)]
    chunks += writer.finish()
    return chunks
