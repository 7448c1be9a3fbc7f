"""Text for a recogniser: the grammar's sentences, wider ones, words in any order, and digits one by one. Letters, apostrophes
and . , ? only, so that everything can be written with the tokens that there are.
"""
import os
import re
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", ".."))
from talklib.sentences import RULES, sentence  # noqa: E402

SUBJECTS = """I|you|he|she|we|they|my brother|my sister|his father|her mother|the children|our neighbor|an old man|a young woman|
the doctor|the teacher|the driver|a friend of mine|the whole family|nobody|everybody|somebody|the other people|the captain|
the farmer|a stranger|the boy|the girl|the king|the queen|the cat|the dog|the bird|the horse|the owner|the guard""".replace("\n", "")
PAST = """saw|heard|found|lost|bought|sold|made|broke|carried|opened|closed|cleaned|painted|watched|followed|remembered|forgot|
brought|took|left|wanted|needed|liked|loved|hated|described|answered|wrote|read|built|washed|pulled|pushed|held|dropped|hid|
borrowed|covered|crossed|counted|drew|entered|filled|gathered|joined|kept|learned|met|noticed|offered|paid for""".replace("\n", "")
OBJECTS = """a letter|the old house|a yellow bicycle|seven boxes|the river|a cup of tea|their garden|the second window|an empty bottle|
the museum|some bread|the long road|a small boat|the mountain|a piece of paper|the broken chair|his hat|her coat|the key|a picture|
the last train|a strange sound|the bridge|two tickets|the night sky|the forest|a heavy stone|the church|warm clothes|the island|
fresh fruit|a blue shirt|the story|the answer|a good place|the front door|my umbrella|the village|the field|an apple tree|
the north wind|the sun|a thick cloud|the beach|the fire|the ground|the music|a song|the lesson|the market|the town""".replace("\n", "")
TAILS = """yesterday|last night|in the morning|before noon|without a word|on the way home|for a long time|in the kitchen|near the lake|
behind the house|with great care|as usual|once again|very slowly|all by himself|at the end of the day|after the storm|in winter|
under the bridge|across the street|for the first time|in a hurry|because it was late|when the rain stopped|if you ask me|
although it was cold|while the others slept|every summer|two years ago|at half past eight|""".replace("\n", "")
WORDS = """the of and to in is that it was for on are as with his they at be this from have or by one had not but what all were when
we there can an your which their said if do will each about how up out them then she many some so these would other into has more
her two like him see time could no make than first been its who now people my made over did down only way find use may water long
little very after words called just where most know get through back much before go good new write our used me man too any day same
right look think also around another came come work three word must because does part even place well such here take why things help
put years different away again off went old number great tell men say small every found still between name should home big give air
line set own under read last never us left end along while might next sound below saw something thought both few those always show
large often together asked house world going want school important until form food keep children feet land side without boy once
animals life enough took sometimes four head above kind began almost live page got earth need far hand high year mother light parts
country father let night following picture being study second eyes soon times story boys since white days ever paper hard near
sentence better best across during today however sure means knew try told young miles sun ways thing whole hear example heard several
change answer room sea against top turned learn point city play toward five using himself usually money seen car morning body upon
family later turn move face door cut done group true half red fish plants living black eat short united run book gave order open
ground cold really table remember tree course front space inside ago sad early learned brought close nothing though idea lived became
add become grow draw yet less wind behind cannot letter among able dog shown mean english rest perhaps certain six feel fire ready
green yes built special ran full town complete oh person hot anything hold state list stood hundred ten fast felt kept notice strong
voice probably area horse matter stand box start class piece surface river common stop am talk quickly whether fine round dark girl
past ball road blue instead either held already warm gone finally summer understand moon animal mind outside power problem winter deep
heavy carefully follow beautiful leave everyone game system bring watch shall dry within floor ice ship themselves begin fact third
quite carry distance although sat possible heart real simple snow rain suddenly easy leaves lay size wild weather miss pattern sky
walked main someone center field stay boat question wide least tiny hour happened foot care low else gold build glass rock tall alone
bottom check reading fall poor map friend language job music buy window mark heat grew listen ask single clear energy week explain
lost spring travel wrote farm circle whose correct bed measure straight base mountain caught hair bird wood color war fly yourself
seem thus square moment teacher happy bright sent present plan rather length speed machine information except figure""".split()
DIGITS = "zero one two three four five six seven eight nine oh".split()
GRAMMAR_WORDS = sorted(set(re.findall(r"[A-Za-z']+", re.sub(r"<\w+>", " ", " ".join(RULES.values())))))


def one(r, alternatives):
    return r.choice(alternatives.split("|"))


def wide(r):
    text = "%s %s %s %s" % (one(r, SUBJECTS), one(r, PAST), one(r, OBJECTS), one(r, TAILS))
    if r.random() < 0.3:
        text += "%s %s %s %s" % (r.choice((" and ", ", but ", ", so ")), one(r, SUBJECTS), one(r, PAST), one(r, OBJECTS))
    text = text.replace(" ,", ",").strip()
    return text[0].upper() + text[1:] + "."


def loose(r):
    """Words in any order"""
    words = [r.choice(WORDS if r.random() < 0.6 else GRAMMAR_WORDS) for _ in range(r.randint(1, 9))]
    text = " ".join(words)
    return text[0].upper() + text[1:] + r.choice("..?")


def digits(r):
    words = [r.choice(DIGITS) for _ in range(r.choice((1, 1, 2, 3, 4, 6)))]
    return (" ".join(words)).capitalize() + "."


def text(r):
    kind = r.random()
    make = sentence if kind < 0.42 else wide if kind < 0.6 else loose if kind < 0.86 else digits
    while True:
        made = make(r)
        if re.fullmatch(r"[A-Za-z' .,?]+", made) and len(made) < 90:
            return made
