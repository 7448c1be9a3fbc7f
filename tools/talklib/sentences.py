"""Sentences of meetings, commands and small talk, drawn from a grammar with a closed vocabulary.

`RULES` maps a name to alternatives that "|" separates; "<name>" stands for any of another rule, a number in front of an
alternative ("3*...") weighs it. Numbers are spelled out. The vocabulary is within that of the small model that comes along.
"""
import re

RULES = {
    "name": "Anna|Ben|Carla|David|Emma|Frank|Grace|Henry|Iris|Jack|Julia|Kevin|Laura|Martin|Nina|Oliver|Paula|Robert|"
            "Sarah|Thomas|Victor|Maria|Peter|Lucy|Daniel|Sophie|George|Helen|Simon|Alice",
    "day": "Monday|Tuesday|Wednesday|Thursday|Friday|Saturday|Sunday",
    "month": "January|February|March|April|May|June|July|August|September|October|November|December",
    "city": "London|Paris|Berlin|Madrid|Rome|Boston|Chicago|Denver|Seattle|Dublin|Vienna|Oslo|Toronto|Sydney|Tokyo|Geneva",
    "place": "the office|the kitchen|the warehouse|the main hall|the second floor|the meeting room|the garden|"
             "the train station|the airport|the hotel|the library|the factory|the parking lot|the school|the hospital",
    "where": "<place>|<city>",
    "project": "Falcon|Harbor|Orion|Maple|Sunrise|Compass|Granite|Delta|Phoenix|Lantern|Nova|Bridge",
    "team": "the design team|the sales team|the support team|the finance team|the board|the client|the manager|the data team",
    "person": "4*<name>|<team>",
    "document": "the report|the budget|the contract|the schedule|the presentation|the invoice|the test results|"
                "the meeting notes|the price list|the project plan|the sales numbers|the agenda|the proposal|the summary",
    "system": "the server|the website|the database|the printer|the network|the mobile app|the payment system|the login page|"
              "the search engine|the backup|the camera|the projector|the sensor|the battery|the new version",
    "topic": "2*<document>|2*<system>|project <project>",
    "task": "3*<paper> <document>|2*<repair> <system>|call <person>|ask <person>|travel to <city>|order <amount>|"
            "bring <amount>|find a better solution|answer the question|change the password|plan the party",
    "paper": "finish|review|send|update|print|check|share|sign|prepare|present|approve|translate|discuss",
    "repair": "restart|test|fix|replace|install|monitor|upgrade|repair|clean",
    "status": "is working again|is still broken|is too slow|is ready|is almost done|looks great|is out of date|is blocked|"
              "is delayed|is on track|is offline|needs more work|has a small problem|has been approved|was canceled",
    "when": "today|tomorrow|tonight|this morning|this afternoon|next week|next month|right now|before lunch|after lunch|"
            "on <day>|next <day>|at <clock>|on <day> at <clock>|in <month>",
    "ten": "twenty|thirty|forty|fifty|sixty|seventy|eighty|ninety",
    "digit": "one|two|three|four|five|six|seven|eight|nine",
    "teen": "ten|eleven|twelve|thirteen|fourteen|fifteen|sixteen|seventeen|eighteen|nineteen",
    "small": "2*<digit>|<teen>|<ten>|2*<ten> <digit>",
    "number": "3*<small>|<digit> hundred|<digit> hundred <small>|<digit> thousand",
    "clock": "<digit> o'clock|<teen> thirty|half past <digit>|quarter past <digit>|quarter to <digit>|<digit> in the morning",
    "date": "<day>|<month> first|<month> second|<month> third|<month> tenth|<month> twelfth|<month> twenty second",
    "things": "chairs|tables|laptops|boxes|tickets|copies|samples|cables|phones|screens|keys|books|bottles|batteries",
    "amount": "<small> <things>",
    "money": "<number> dollars|<number> euros|<number> pounds",
    "food": "coffee|tea|water|a sandwich|soup|pizza|salad|apples|oranges|rice|fish|milk|orange juice|chocolate cake",
    "weather": "sunny|cloudy|windy|rainy|cold|warm|hot|foggy|dry",
    "room": "kitchen|bedroom|bathroom|office|hallway|garage|garden|basement",
    "device": "light|heater|fan|television|radio|alarm|oven|speaker",
    "short": "Good morning, everyone.|Good afternoon.|Hello, how are you?|I am fine, thank you.|Thank you very much.|"
             "Yes, that is right.|No, that is wrong.|I agree with you.|I do not agree.|That sounds good.|"
             "That is a great idea.|Let us get started.|Let us take a short break.|Can you see my screen?|"
             "Could you repeat that, please?|I have a question.|What do you think?|I am not sure.|Let me check.|"
             "See you next week.|That is all for today.|Any other questions?|Let us move on.|I will take care of it.|"
             "How was your weekend?|We made good progress.|We are running out of time.|It depends.",
    "sentence":
        "8*<short>|5*<person> will <task> <when>.|4*I will <task> <when>.|3*We need to <task> <when>.|"
        "3*We should <task> and <task>.|3*<name>, can you <task> <when>?|2*Could you please <task>?|"
        "2*Do not forget to <task>.|3*<topic> <status>.|3*I think <topic> <status>.|2*<person> said that <topic> <status>.|"
        "2*If <topic> <status>, please call <person>.|2*The meeting starts at <clock>.|"
        "3*The deadline for project <project> is <date>.|2*Who is responsible for <topic>?|2*Where is <topic>?|"
        "2*Did <person> <task>?|2*It costs <money>.|2*The price of <topic> is <money>.|2*We have <money> left in the budget.|"
        "2*We ordered <amount> last week.|2*<name> is flying to <city>.|2*<name> and <name> are in <where> <when>.|"
        "2*The train to <city> leaves at <clock>.|2*The weather in <city> is <weather> and <weather>.|"
        "2*Turn on the <device> in the <room>.|2*Remind me to <task> <when>.|2*I would like <food> and <food>, please.|"
        "2*How many <things> do we need in <where>?|2*How long does it take to <task>?|2*<name> asked <name> about <topic>.",
}

_REFERENCE = re.compile(r"<(\w+)>")


def _alternatives(rule):
    weights, texts = [], []
    for text in RULES[rule].split("|"):
        weight, star, rest = text.partition("*")
        weights.append(int(weight) if star else 1)
        texts.append(rest if star else text)
    return weights, texts


_TABLE = {rule: _alternatives(rule) for rule in RULES}


def draw(random, rule="sentence"):
    """A text of the rule; `random` is a random.Random."""
    weights, texts = _TABLE[rule]
    text = random.choices(texts, weights)[0]
    return _REFERENCE.sub(lambda match: draw(random, match.group(1)), text)


def sentence(random):
    """A sentence of at most 16 words that begins with a capital."""
    while True:
        text = draw(random)
        if len(text.split()) <= 16:
            return text[0].upper() + text[1:]
