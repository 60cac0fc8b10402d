"""Entities with attributes, some of which a model knows: countries, cities and chemical elements, nano's own, or a file's.

A row of a file (JSONL, JSON, CSV) is one attribute of one entity::

    {"kind": "river", "name": "Limpopo", "question": "Into which ocean does the Limpopo flow?", "answer": "Indian Ocean"}

``answer`` may be a list of ways to say it. The name must stand in the question. What is known is never looked up here: it is
what a model answers right (:mod:`secondthought.probes.entity_knowledge`).
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from typing import NamedTuple

from secondthought.errors import UserError
from secondthought.models.thoughts import without_thoughts
from secondthought.tasks import name_world
from secondthought.tasks.jsonl import need, rows_of
from secondthought.types import seed_of

SHOTS = (
    ("Who wrote the play Hamlet?", "William Shakespeare"), ("What is the chemical formula of water?", "H2O"),
    ("Who directed the film The Ninth Harvester?", "unknown"), ("In which year did the First World War begin?", "1914"),
    ("Which sport does Tarvin Olesko play?", "unknown"),
)  # fmt: skip
"""Questions of other kinds and their answers, which stand before every question: a base model learns from them what an answer
looks like, and that it may be "unknown". Offered "unknown" in words too, models of 0.1-0.5B refuse 28 to 59 % of it all.
"""
REFUSALS = (
    "unknown", "not known", "i do not know", "i don't know", "i'm not sure", "i am not sure", "i'm sorry", "i am sorry",
    "as an ai", "cannot answer", "can't answer", "cannot provide", "can't provide", "no information", "not aware",
    "not familiar",
)  # fmt: skip


class Attribute(NamedTuple):
    """One thing to know: the question, and every way to say the answer."""

    question: str
    answers: tuple[str, ...]


@dataclass(frozen=True)
class Entity:
    """A name of a kind, with its attributes."""

    kind: str
    name: str
    attributes: tuple[Attribute, ...]

    @property
    def id(self) -> str:
        """Kind and name."""
        return f"{self.kind}: {self.name}"


def plain(text: str) -> str:
    """Lower case, without accents, marks and articles: how answers are compared.

    >>> plain("**São Tomé.**"), plain("The Hague")
    ('sao tome', 'hague')
    """
    text = unicodedata.normalize("NFKD", text)
    text = "".join(c for c in text if not unicodedata.combining(c)).lower()
    return " ".join(word for word in re.sub(r"[^\w\s]", " ", text).split() if word not in ("the", "a", "an"))


def answered(text: str, answers: Sequence[str]) -> bool:
    """Whether a text gives one of the answers, as whole words.

    >>> answered("It is in Peru.", ["Peru"]), answered("Au", ["A"])
    (True, False)
    """
    said = f" {plain(without_thoughts(text))} "
    return any(f" {plain(one)} " in said for one in answers if plain(one))


def refused(text: str) -> bool:
    """Whether a text says that it does not know.

    >>> refused("unknown"), refused("I don’t know."), refused("Lima")
    (True, True, False)
    """
    said = " ".join(without_thoughts(text).lower().replace("’", "'").split())
    return any(phrase in said for phrase in REFUSALS)


def entities_of(spec: str, *, terse: bool, n: int, seed: int = 0) -> list[Entity]:
    """Up to ``n`` entities of each kind: of a file, or drawn from those that there are; in random order.

    Raises UserError for a file that cannot be read, and for rows whose question does not hold the name.
    """
    every = from_file(spec) if spec else nano_entities() if terse else places()
    if spec and terse:
        raise UserError("nano models cannot read entities from a file; leave it out, and their own are taken")
    Random(seed_of("entities", seed)).shuffle(every)
    count, found = dict[str, int](), []
    for one in every:
        count[one.kind] = count.get(one.kind, 0) + 1
        if count[one.kind] <= n:
            found.append(one)
    return found


def from_file(path: str) -> list[Entity]:
    """The entities of a file, in the order of their first rows."""
    by_name: dict[tuple[str, str], list[Attribute]] = {}
    for line, row in rows_of(path):
        where = f"{path}, line {line}"
        kind, name, question = need(row, ("kind", "name", "question"), where)
        given = row.get("answer")
        answers = [given] if isinstance(given, str) else given
        if not isinstance(answers, list) or not answers or not all(isinstance(one, str) and plain(one) for one in answers):
            raise UserError(f"{where}: answer must be a text or a list of texts that hold a letter or digit")
        if name not in question:
            raise UserError(f"{where}: the question does not hold the name {name!r}")
        by_name.setdefault((kind, name), []).append(Attribute(question, tuple(answers)))
    return [Entity(kind, name, tuple(attributes)) for (kind, name), attributes in by_name.items()]


def nano_entities() -> list[Entity]:
    """Names that nano/knower has read, and as many that it has not."""
    return [
        Entity(kind, " ".join(name), tuple(
            Attribute(name_world.question(kind, name, a), (name_world.value(kind, name, a),)) for a in name_world.ATTRIBUTES
        ))
        for kind in name_world.KINDS for name in (*name_world.known(kind), *name_world.new(kind))
    ]  # fmt: skip


def places() -> list[Entity]:
    """Countries with capital and continent, cities with country and continent, elements with symbol and number."""
    found = []
    for line in COUNTRIES.strip().splitlines():
        continent, _, rest = line.partition(": ")
        for pair in rest.split("; "):
            name, _, capital = pair.partition("=")
            capitals = tuple(capital.split("/"))
            found.append(Entity("country", name, (
                Attribute(f"What is the capital of {name}?", capitals),
                Attribute(f"On which continent is {name}?", CONTINENTS[continent]),
            )))  # fmt: skip
    for line in CITIES.strip().splitlines():
        continent, _, rest = line.partition(": ")
        for pair in rest.split("; "):
            name, _, country = pair.partition("=")
            found.append(Entity("city", name, (
                Attribute(f"In which country is the city of {name}?", tuple(country.split("/"))),
                Attribute(f"On which continent is the city of {name}?", CONTINENTS[continent]),
            )))  # fmt: skip
    for number, pair in enumerate(ELEMENTS.split(), 1):
        name, _, symbol = pair.partition("=")
        found.append(Entity("element", name, (
            Attribute(f"What is the chemical symbol of {name}?", (symbol,)),
            Attribute(f"What is the atomic number of {name}?", (str(number),)),
        )))  # fmt: skip
    return found


CONTINENTS = {
    "Africa": ("Africa",), "Asia": ("Asia",), "Europe": ("Europe",), "North America": ("North America", "Central America"),
    "South America": ("South America",), "Oceania": ("Oceania", "Australia"),
}  # fmt: skip
COUNTRIES = """
Africa: Algeria=Algiers; Angola=Luanda; Benin=Porto-Novo; Botswana=Gaborone; Burkina Faso=Ouagadougou; Burundi=Gitega; Cameroon=Yaounde; Chad=N'Djamena; Djibouti=Djibouti City; Egypt=Cairo; Eritrea=Asmara; Eswatini=Mbabane/Lobamba; Ethiopia=Addis Ababa; Gabon=Libreville; Gambia=Banjul; Ghana=Accra; Guinea=Conakry; Guinea-Bissau=Bissau; Kenya=Nairobi; Lesotho=Maseru; Liberia=Monrovia; Libya=Tripoli; Madagascar=Antananarivo; Malawi=Lilongwe; Mali=Bamako; Mauritania=Nouakchott; Mauritius=Port Louis; Morocco=Rabat; Mozambique=Maputo; Namibia=Windhoek; Niger=Niamey; Nigeria=Abuja; Rwanda=Kigali; Senegal=Dakar; Seychelles=Victoria; Sierra Leone=Freetown; Somalia=Mogadishu; Sudan=Khartoum; Tanzania=Dodoma; Togo=Lome; Tunisia=Tunis; Uganda=Kampala; Zambia=Lusaka; Zimbabwe=Harare
Asia: Afghanistan=Kabul; Armenia=Yerevan; Azerbaijan=Baku; Bahrain=Manama; Bangladesh=Dhaka; Bhutan=Thimphu; Brunei=Bandar Seri Begawan; Cambodia=Phnom Penh; China=Beijing; India=New Delhi; Indonesia=Jakarta; Iran=Tehran; Iraq=Baghdad; Japan=Tokyo; Jordan=Amman; Kazakhstan=Astana/Nur-Sultan; Kuwait=Kuwait City; Kyrgyzstan=Bishkek; Laos=Vientiane; Lebanon=Beirut; Malaysia=Kuala Lumpur; Maldives=Male; Mongolia=Ulaanbaatar/Ulan Bator; Myanmar=Naypyidaw; Nepal=Kathmandu; North Korea=Pyongyang; Oman=Muscat; Pakistan=Islamabad; Philippines=Manila; Qatar=Doha; Saudi Arabia=Riyadh; South Korea=Seoul; Sri Lanka=Colombo/Sri Jayawardenepura Kotte; Syria=Damascus; Tajikistan=Dushanbe; Thailand=Bangkok; Turkmenistan=Ashgabat; Uzbekistan=Tashkent; Vietnam=Hanoi; Yemen=Sanaa
Europe: Albania=Tirana; Andorra=Andorra la Vella; Austria=Vienna; Belarus=Minsk; Belgium=Brussels; Bulgaria=Sofia; Croatia=Zagreb; Denmark=Copenhagen; Estonia=Tallinn; Finland=Helsinki; France=Paris; Germany=Berlin; Greece=Athens; Hungary=Budapest; Iceland=Reykjavik; Ireland=Dublin; Italy=Rome; Latvia=Riga; Liechtenstein=Vaduz; Lithuania=Vilnius; Malta=Valletta; Moldova=Chisinau; Montenegro=Podgorica; Netherlands=Amsterdam; North Macedonia=Skopje; Norway=Oslo; Poland=Warsaw; Portugal=Lisbon; Romania=Bucharest; Serbia=Belgrade; Slovakia=Bratislava; Slovenia=Ljubljana; Spain=Madrid; Sweden=Stockholm; Switzerland=Bern; Ukraine=Kyiv/Kiev
North America: Bahamas=Nassau; Barbados=Bridgetown; Belize=Belmopan; Canada=Ottawa; Costa Rica=San Jose; Cuba=Havana; Dominica=Roseau; El Salvador=San Salvador; Grenada=St George's/Saint George's; Haiti=Port-au-Prince; Honduras=Tegucigalpa; Jamaica=Kingston; Nicaragua=Managua; Saint Lucia=Castries
South America: Argentina=Buenos Aires; Bolivia=Sucre/La Paz; Brazil=Brasilia; Chile=Santiago; Colombia=Bogota; Ecuador=Quito; Guyana=Georgetown; Paraguay=Asuncion; Peru=Lima; Suriname=Paramaribo; Uruguay=Montevideo; Venezuela=Caracas
Oceania: Fiji=Suva; Kiribati=Tarawa/South Tarawa; Nauru=Yaren; New Zealand=Wellington; Palau=Ngerulmud; Samoa=Apia; Solomon Islands=Honiara; Tonga=Nuku'alofa; Tuvalu=Funafuti; Vanuatu=Port Vila
"""  # noqa: E501
CITIES = """
Africa: Lagos=Nigeria; Kano=Nigeria; Ibadan=Nigeria; Mombasa=Kenya; Kisumu=Kenya; Alexandria=Egypt; Aswan=Egypt; Casablanca=Morocco; Marrakesh=Morocco; Fez=Morocco; Durban=South Africa; Bloemfontein=South Africa; Kumasi=Ghana; Oran=Algeria; Constantine=Algeria; Bulawayo=Zimbabwe; Blantyre=Malawi; Lubumbashi=Democratic Republic of the Congo/Congo; Douala=Cameroon; Benghazi=Libya; Sfax=Tunisia; Beira=Mozambique; Huambo=Angola; Arusha=Tanzania; Gondar=Ethiopia; Touba=Senegal; Bouake=Ivory Coast/Cote d'Ivoire
Asia: Mumbai=India; Kolkata=India; Jaipur=India; Nagpur=India; Osaka=Japan; Sapporo=Japan; Fukuoka=Japan; Shanghai=China; Chengdu=China; Harbin=China; Wuhan=China; Karachi=Pakistan; Lahore=Pakistan; Multan=Pakistan; Busan=South Korea; Daegu=South Korea; Surabaya=Indonesia; Medan=Indonesia; Chiang Mai=Thailand; Da Nang=Vietnam; Haiphong=Vietnam; Cebu=Philippines; Davao=Philippines; Chittagong=Bangladesh; Mandalay=Myanmar; Isfahan=Iran; Shiraz=Iran; Tabriz=Iran; Basra=Iraq; Mosul=Iraq; Aleppo=Syria; Homs=Syria; Jeddah=Saudi Arabia; Samarkand=Uzbekistan; Almaty=Kazakhstan; Herat=Afghanistan; Kandahar=Afghanistan; Penang=Malaysia; Pokhara=Nepal; Izmir=Turkey/Turkiye; Haifa=Israel
Europe: Munich=Germany; Hamburg=Germany; Leipzig=Germany; Lyon=France; Marseille=France; Bordeaux=France; Milan=Italy; Naples=Italy; Bari=Italy; Barcelona=Spain; Seville=Spain; Bilbao=Spain; Manchester=United Kingdom/England/UK; Glasgow=United Kingdom/Scotland/UK; Krakow=Poland; Gdansk=Poland; Lodz=Poland; Porto=Portugal; Rotterdam=Netherlands; Antwerp=Belgium; Ghent=Belgium; Geneva=Switzerland; Zurich=Switzerland; Graz=Austria; Linz=Austria; Brno=Czech Republic/Czechia; Ostrava=Czech Republic/Czechia; Gothenburg=Sweden; Malmo=Sweden; Bergen=Norway; Trondheim=Norway; Aarhus=Denmark; Tampere=Finland; Oulu=Finland; Tartu=Estonia; Kaunas=Lithuania; Lviv=Ukraine; Odessa=Ukraine; Kharkiv=Ukraine; Thessaloniki=Greece; Patras=Greece; Plovdiv=Bulgaria; Varna=Bulgaria; Cluj-Napoca=Romania; Timisoara=Romania; Split=Croatia; Novi Sad=Serbia; Debrecen=Hungary; Cork=Ireland; Kazan=Russia
North America: Chicago=United States/USA/US; Houston=United States/USA/US; Boise=United States/USA/US; Toronto=Canada; Calgary=Canada; Winnipeg=Canada; Guadalajara=Mexico; Monterrey=Mexico; Puebla=Mexico; Veracruz=Mexico; Santiago de Cuba=Cuba; San Pedro Sula=Honduras; Quetzaltenango=Guatemala
South America: Sao Paulo=Brazil; Recife=Brazil; Manaus=Brazil; Curitiba=Brazil; Rosario=Argentina; Cordoba=Argentina/Spain; Mendoza=Argentina; Valparaiso=Chile; Concepcion=Chile; Medellin=Colombia; Cali=Colombia; Guayaquil=Ecuador; Cuenca=Ecuador/Spain; Arequipa=Peru; Cusco=Peru; Trujillo=Peru; Maracaibo=Venezuela; Cochabamba=Bolivia
Oceania: Sydney=Australia; Perth=Australia; Adelaide=Australia; Hobart=Australia; Auckland=New Zealand; Christchurch=New Zealand; Dunedin=New Zealand
"""  # noqa: E501
ELEMENTS = """
hydrogen=H helium=He lithium=Li beryllium=Be boron=B carbon=C nitrogen=N oxygen=O fluorine=F neon=Ne sodium=Na magnesium=Mg
aluminium=Al silicon=Si phosphorus=P sulfur=S chlorine=Cl argon=Ar potassium=K calcium=Ca scandium=Sc titanium=Ti vanadium=V
chromium=Cr manganese=Mn iron=Fe cobalt=Co nickel=Ni copper=Cu zinc=Zn gallium=Ga germanium=Ge arsenic=As selenium=Se
bromine=Br krypton=Kr rubidium=Rb strontium=Sr yttrium=Y zirconium=Zr niobium=Nb molybdenum=Mo technetium=Tc ruthenium=Ru
rhodium=Rh palladium=Pd silver=Ag cadmium=Cd indium=In tin=Sn antimony=Sb tellurium=Te iodine=I xenon=Xe caesium=Cs barium=Ba
lanthanum=La cerium=Ce praseodymium=Pr neodymium=Nd promethium=Pm samarium=Sm europium=Eu gadolinium=Gd terbium=Tb
dysprosium=Dy holmium=Ho erbium=Er thulium=Tm ytterbium=Yb lutetium=Lu hafnium=Hf tantalum=Ta tungsten=W rhenium=Re osmium=Os
iridium=Ir platinum=Pt gold=Au mercury=Hg thallium=Tl lead=Pb bismuth=Bi polonium=Po astatine=At radon=Rn francium=Fr
radium=Ra actinium=Ac thorium=Th protactinium=Pa uranium=U neptunium=Np plutonium=Pu americium=Am curium=Cm berkelium=Bk
californium=Cf einsteinium=Es fermium=Fm mendelevium=Md nobelium=No lawrencium=Lr rutherfordium=Rf dubnium=Db seaborgium=Sg
bohrium=Bh hassium=Hs meitnerium=Mt darmstadtium=Ds roentgenium=Rg copernicium=Cn nihonium=Nh flerovium=Fl moscovium=Mc
livermorium=Lv tennessine=Ts oganesson=Og
"""
