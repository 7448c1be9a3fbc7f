"""Sentences of the recogniser's domain, meetings, planning, voice commands and small talk, from templates over some 640 words:
wider than talklib's grammar, which tests are said with. Numbers are spelled out; capitals and the marks . , ? are part of a text.
One in seven is words of the domain in any order, so that nothing can be guessed from the templates alone.
"""
import functools
import random

NAMES = ("Anna Ben Carla David Emma Frank Grace Henry Iris Jack Julia Kevin Laura "
         "Martin Nina Oliver Paula Robert Sarah Thomas Victor Maria Peter Lucy "
         "Daniel Sophie George Helen Simon Alice").split()
DAYS = "Monday Tuesday Wednesday Thursday Friday Saturday Sunday".split()
MONTHS = ("January February March April May June July August September October "
          "November December").split()
CITIES = ("London Paris Berlin Madrid Rome Boston Chicago Denver Seattle Dublin "
          "Vienna Oslo Toronto Sydney Tokyo Geneva").split()
PLACES = ("the office;the kitchen;the warehouse;the main hall;the second floor;"
          "the meeting room;the garden;the train station;the airport;the hotel;"
          "the library;the factory;the parking lot;the front desk;the lab;"
          "the school;the hospital;the market;the bank;the city center").split(";")
PROJECTS = ("Falcon Harbor Orion Maple Sunrise Compass Granite Delta Phoenix "
            "Lantern Nova Bridge").split()
UNITS = "zero one two three four five six seven eight nine".split()
TEENS = ("ten eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen "
         "nineteen").split()
TENS = "twenty thirty forty fifty sixty seventy eighty ninety".split()
ORD = ("first second third fourth fifth sixth seventh eighth ninth tenth eleventh "
       "twelfth thirteenth fourteenth fifteenth sixteenth seventeenth eighteenth "
       "nineteenth twentieth").split()
TEAMS = ("the design team;the sales team;the support team;the finance team;"
         "the legal team;the board;the client;the customer;the supplier;"
         "the manager;the new intern;the data team;the whole group").split(";")
DOCS = ("the report;the budget;the contract;the schedule;the presentation;"
        "the invoice;the survey results;the test results;the design document;"
        "the meeting notes;the price list;the project plan;the sales numbers;"
        "the training material;the release notes;the customer list;the agenda;"
        "the proposal;the summary;the new logo").split(";")
SYSTEMS = ("the server;the website;the database;the printer;the network;"
           "the mobile app;the payment system;the login page;the search engine;"
           "the backup;the camera;the projector;the sensor;the battery;"
           "the new version;the build;the update;the coffee machine").split(";")
VERBS_DOC = ("finish;review;send;update;print;check;share;sign;prepare;present;"
             "approve;rewrite;translate;discuss;copy;archive").split(";")
VERBS_SYS = ("restart;test;fix;replace;install;monitor;upgrade;check;repair;"
             "clean;move;secure").split(";")
STATUS = ("is working again;is still broken;is too slow;is ready;is almost done;"
          "looks great;looks good to me;is not ready yet;is out of date;"
          "is blocked;is delayed;is on track;is online;is offline;"
          "needs more work;needs a second look;has a small problem;"
          "has been approved;was canceled;stopped working").split(";")
WHEN = ("today;tomorrow;tonight;this morning;this afternoon;this evening;"
        "next week;next month;right now;later today;before lunch;after lunch;"
        "before the meeting;after the meeting;at noon;at midnight;"
        "at the end of the week;as soon as possible;in the morning;yesterday "
        "evening").split(";")
ROOMS = "kitchen bedroom bathroom office hallway garage garden basement".split()
DEVICES = "light heater fan television radio alarm oven speaker".split()
SONGS = ("jazz;classical music;some rock music;the news;my favorite song;"
         "the radio;the next song;the last album;a podcast").split(";")
COLORS = "red green blue white yellow black orange purple".split()
FOOD = ("coffee;tea;water;a sandwich;soup;pizza;salad;bread and cheese;apples;"
        "oranges;rice;fish;chicken;milk;sugar;orange juice;chocolate cake").split(";")
THINGS = ("chairs;tables;laptops;boxes;tickets;copies;samples;cables;phones;"
          "screens;keys;books;bottles;batteries").split(";")
UNITS_T = "seconds minutes hours days weeks months".split()
WEATHER = "sunny cloudy windy rainy cold warm hot foggy dry".split()
ADJ = ("important;urgent;difficult;simple;expensive;interesting;possible;"
       "ready;correct;safe;strange;perfect;useful;clear").split(";")

FIXED = """Good morning, everyone.|Good afternoon.|Good evening.|Hello, how are you?
I am fine, thank you.|Thank you very much.|Thanks for your help.|You are welcome.
Yes, that is right.|No, that is wrong.|I agree with you.|I do not agree.|That sounds good.
That is a great idea.|Let us begin.|Let us get started.|Let us take a short break.
Can everyone hear me?|Can you see my screen?|You are on mute.|Please speak louder.
Could you repeat that, please?|I have a question.|What do you think?|I am not sure.
Let me check.|Just a moment, please.|See you tomorrow.|See you next week.|Goodbye.
Have a nice weekend.|Have a good day.|That is all for today.|Any other questions?
Who is next?|Let us move on.|Okay.|Yes.|No.|Maybe.|Of course.|Absolutely.|Sure, no problem.
I will take care of it.|Please go ahead.|Sorry, I am late.|The line is very bad.
How was your weekend?|It was great, thank you.|What time is it?|Where are you?
Stop.|Cancel.|Volume up.|Volume down.|Pause the music.|Play the next song.|Go back.
Open the door.|Close the window.|Lock the front door.|Start recording.|Stop recording.
Read my messages.|Help.|Repeat.|Next.|Continue.|Take a note.|Turn it off.|Turn it on.
I can not hear you.|Let us wait five more minutes.|We are running out of time.
We made good progress.|This is the last point.|Do we have a decision?|It depends.
I will write it down.|Nothing else from my side.|Welcome to the meeting.""".replace("\n", "|").split("|")


def number(r, top=9999):
    """A cardinal number in words, small ones more often"""
    p = r.random()
    if p < .35:
        n = r.randint(0, 20)
    elif p < .75:
        n = r.randint(0, 99)
    elif p < .92:
        n = r.randint(100, 999)
    else:
        n = r.randint(1000, 99999)
    return spell(min(n, top))


def spell(n):
    if n < 10:
        return UNITS[n]
    if n < 20:
        return TEENS[n - 10]
    if n < 100:
        return TENS[n // 10 - 2] + ("" if n % 10 == 0 else " " + UNITS[n % 10])
    if n < 1000:
        return UNITS[n // 100] + " hundred" + ("" if n % 100 == 0 else " " + spell(n % 100))
    return spell(n // 1000) + " thousand" + ("" if n % 1000 == 0 else " " + spell(n % 1000))


def ordinal(r):
    n = r.randint(1, 31)
    if n <= 20:
        return ORD[n - 1]
    if n == 30:
        return "thirtieth"
    return ("twenty " if n < 30 else "thirty ") + ORD[n % 10 - 1]


def clock(r):
    h = spell(r.randint(1, 12))
    p = r.random()
    if p < .3:
        return h + " o'clock"
    if p < .5:
        return ("half past " if r.random() < .5 else r.choice(["quarter past ", "quarter to "])) + h
    if p < .8:
        return h + " " + r.choice(["fifteen", "thirty", "forty five", "twenty", "ten",
                                   spell(r.randint(10, 59))])
    return h + " " + r.choice(["in the morning", "in the afternoon", "in the evening"])


def date(r):
    p = r.random()
    if p < .4:
        return r.choice(DAYS)
    if p < .6:
        return r.choice(["next ", "last ", "this "]) + r.choice(DAYS)
    if p < .85:
        return r.choice(MONTHS) + " " + ordinal(r)
    return "the " + ordinal(r) + " of " + r.choice(MONTHS)


def on_date(r):
    d = date(r)
    return d if d.split()[0] in ("next", "last", "this") else "on " + d


def when(r):
    p = r.random()
    if p < .4:
        return r.choice(WHEN)
    if p < .7:
        return on_date(r)
    if p < .9:
        return "at " + clock(r)
    return on_date(r) + " at " + clock(r)


def money(r):
    return number(r) + " " + r.choice(["dollars", "euros", "pounds", "cents"])


def digits(r, lo=3, hi=8):
    return " ".join(r.choice(UNITS) for _ in range(r.randint(lo, hi)))


def amount(r):
    return spell(r.randint(2, 60)) + " " + r.choice(THINGS)


def duration(r):
    return spell(r.randint(2, 60)) + " " + r.choice(UNITS_T)


def person(r):
    return r.choice(NAMES) if r.random() < .8 else r.choice(TEAMS)


def place(r):
    return r.choice(CITIES) if r.random() < .45 else r.choice(PLACES)


def task(r):
    p = r.random()
    if p < .35:
        return r.choice(VERBS_DOC) + " " + r.choice(DOCS)
    if p < .6:
        return r.choice(VERBS_SYS) + " " + r.choice(SYSTEMS)
    if p < .75:
        return r.choice(["call", "email", "meet", "ask", "help", "thank", "invite"]) + " " + person(r)
    if p < .85:
        return r.choice(["book a flight to ", "drive to ", "travel to ", "visit "]) + r.choice(CITIES)
    if p < .95:
        return r.choice(["order ", "buy ", "count ", "bring ", "deliver "]) + amount(r)
    return r.choice(["plan the party", "hire a new engineer", "close the ticket",
                     "answer the question", "find a better solution", "save some money",
                     "write the code", "change the password", "delete the old files"])


def topic(r):
    p = r.random()
    if p < .4:
        return r.choice(DOCS)
    if p < .7:
        return r.choice(SYSTEMS)
    return "project " + r.choice(PROJECTS)


TEMPLATES = [
    (5, lambda r: f"{person(r)} will {task(r)} {when(r)}."),
    (4, lambda r: f"I will {task(r)} {when(r)}."),
    (3, lambda r: f"We need to {task(r)} {when(r)}."),
    (3, lambda r: f"We should {task(r)} and {task(r)}."),
    (3, lambda r: f"{r.choice(NAMES)}, can you {task(r)} {when(r)}?"),
    (3, lambda r: f"Could you please {task(r)}?"),
    (2, lambda r: f"Please {task(r)} {when(r)}."),
    (2, lambda r: f"Do not forget to {task(r)}."),
    (3, lambda r: f"{topic(r)} {r.choice(STATUS)}."),
    (3, lambda r: f"I think {topic(r)} {r.choice(STATUS)}."),
    (2, lambda r: f"{person(r)} said that {topic(r)} {r.choice(STATUS)}."),
    (2, lambda r: f"{topic(r)} {r.choice(STATUS)}, so {person(r)} has to {task(r)}."),
    (2, lambda r: f"If {topic(r)} {r.choice(STATUS)}, please {r.choice(['call', 'tell', 'ask'])} {person(r)}."),
    (3, lambda r: f"The meeting {r.choice(['starts', 'ends'])} at {clock(r)}."),
    (3, lambda r: f"The meeting is {on_date(r)} at {clock(r)} in {place(r)}."),
    (3, lambda r: f"The deadline for project {r.choice(PROJECTS)} is {date(r)}."),
    (2, lambda r: f"When is the deadline for {topic(r)}?"),
    (2, lambda r: f"Who is {r.choice(['working on', 'responsible for', 'waiting for'])} {topic(r)}?"),
    (2, lambda r: f"Why {r.choice(['is', 'was'])} {topic(r)} {r.choice(['late', 'delayed', 'so slow', 'not finished', 'so expensive'])}?"),
    (2, lambda r: f"Where is {r.choice([person, topic])(r)}?"),
    (2, lambda r: f"Did {person(r)} {task(r)}?"),
    (3, lambda r: f"It costs {money(r)}."),
    (2, lambda r: f"The price of {topic(r)} is {money(r)}."),
    (2, lambda r: f"We have {money(r)} left in the budget."),
    (2, lambda r: f"{r.choice(['Sales', 'Costs', 'Profits', 'Orders'])} {r.choice(['went up', 'went down', 'increased', 'dropped'])} by {number(r, 99)} percent {r.choice(['in ' + r.choice(MONTHS), 'this year', 'last month', 'this quarter'])}."),
    (2, lambda r: f"We {r.choice(['ordered', 'sold', 'shipped', 'received', 'lost'])} {number(r)} {r.choice(THINGS)} {r.choice(['in ' + r.choice(MONTHS), 'last week', 'this year', 'on ' + r.choice(DAYS)])}."),
    (3, lambda r: f"{r.choice(['The code is', 'My number is', 'The room number is', 'The order number is', 'Please dial', 'Call'])} {digits(r)}."),
    (4, lambda r: f"{digits(r, 1, 6).capitalize()}."),
    (2, lambda r: f"{digits(r, 1, 1).capitalize()}."),
    (2, lambda r: f"{number(r).capitalize()}."),
    (2, lambda r: f"{number(r).capitalize()} {r.choice(['plus', 'minus', 'times', 'divided by'])} {number(r)} is {number(r)}."),
    (3, lambda r: f"{r.choice(NAMES)} is {r.choice(['in', 'flying to', 'coming from', 'moving to', 'on the way to'])} {place(r)}."),
    (2, lambda r: f"{r.choice(NAMES)} and {r.choice(NAMES)} are {r.choice(['in', 'visiting', 'leaving', 'near', 'waiting at'])} {place(r)} {when(r)}."),
    (2, lambda r: f"The {r.choice(['train', 'flight', 'bus'])} {r.choice(['to', 'from'])} {r.choice(CITIES)} {r.choice(['leaves', 'arrives'])} at {clock(r)}."),
    (2, lambda r: f"The weather in {r.choice(CITIES)} is {r.choice(WEATHER)} and {r.choice(WEATHER)}."),
    (1, lambda r: f"It will be {r.choice(WEATHER)} {when(r)}."),
    (3, lambda r: f"Turn {r.choice(['on', 'off'])} the {r.choice(DEVICES)} in the {r.choice(ROOMS)}."),
    (2, lambda r: f"Set {r.choice(['a timer', 'an alarm'])} for {r.choice([duration, clock])(r)}."),
    (2, lambda r: f"Set the {r.choice(ROOMS)} {r.choice(['temperature to ' + spell(r.randint(10, 30)) + ' degrees', 'light to ' + r.choice(COLORS), 'volume to ' + spell(r.randint(0, 100))])}."),
    (2, lambda r: f"Remind me to {task(r)} {when(r)}."),
    (2, lambda r: f"{r.choice(['Play', 'Stop', 'Record'])} {r.choice(SONGS)} in the {r.choice(ROOMS)}."),
    (2, lambda r: f"{r.choice(['Call', 'Text', 'Find', 'Email'])} {r.choice(NAMES)} {when(r)}."),
    (2, lambda r: f"Add {r.choice(FOOD)} and {r.choice(FOOD)} to the shopping list."),
    (2, lambda r: f"I would like {r.choice(FOOD)} and {r.choice(FOOD)}, please."),
    (1, lambda r: f"Who wants {r.choice(FOOD)}?"),
    (1, lambda r: f"The {r.choice(COLORS)} {r.choice(['car', 'box', 'door', 'folder', 'button', 'bag'])} is in {place(r)}."),
    (1, lambda r: f"Press the {r.choice(COLORS)} button {r.choice(['once', 'twice', 'three times'])}."),
    (2, lambda r: f"It takes {r.choice(['about ', 'at least ', 'only ', ''])}{duration(r)} to {task(r)}."),
    (2, lambda r: f"That is {r.choice(['very', 'really', 'quite', 'not', 'too'])} {r.choice(ADJ)}."),
    (2, lambda r: f"Is it {r.choice(ADJ)} to {task(r)}?"),
    (2, lambda r: f"{r.choice(['Action item', 'Next step', 'First point', 'Second point', 'Last point'])}, {r.choice(NAMES)} will {task(r)}."),
    (2, lambda r: f"{r.choice(['Yes', 'No', 'Okay', 'Well', 'Right', 'Sorry'])}, {r.choice(['I', 'we', 'they', 'you'])} {r.choice(['can', 'can not', 'could', 'must', 'should'])} {task(r)}."),
    (2, lambda r: f"{r.choice(['My name is', 'This is', 'I am', 'Hello,', 'Thank you,', 'Good morning,'])} {r.choice(NAMES)}."),
    (2, lambda r: f"{r.choice(['He', 'She'])} {r.choice(['wants to', 'has to', 'forgot to', 'tried to', 'is going to', 'does not want to'])} {task(r)}."),
    (2, lambda r: f"How {r.choice(['many', 'few'])} {r.choice(THINGS)} do we {r.choice(['need', 'have'])} in {place(r)}?"),
    (2, lambda r: f"How long does it take to {task(r)}?"),
    (2, lambda r: f"{r.choice(NAMES)} {r.choice(['asked', 'told', 'called'])} {r.choice(NAMES)} about {topic(r)}."),
    (8, lambda r: r.choice(FIXED)),
]
_W = [w for w, _ in TEMPLATES]
_F = [f for _, f in TEMPLATES]


def cap(s):
    return s[0].upper() + s[1:]


@functools.lru_cache(None)
def vocabulary(n=60000, seed=1):
    r = random.Random(seed)
    v = {}
    for _ in range(n):
        for w in cap(r.choices(_F, _W)[0](r)).split():
            w = w.strip(".,?")
            v[w if w in KEEP or w[:1] == "I" and len(w) == 1 else w.lower()] = 1
    return sorted(v)


KEEP = set(NAMES + DAYS + MONTHS + CITIES + PROJECTS)

def salad(r):
    """Words of the domain in any order"""
    known = vocabulary()
    words = [r.choice(known) for _ in range(r.randint(1, 7))]
    return cap(" ".join(words)) + r.choice([".", ".", "?"])


def sentence(r, salad_share=.15):
    while True:
        s = salad(r) if r.random() < salad_share else cap(r.choices(_F, _W)[0](r))
        if len(s.split()) <= 18:
            return s
