//! The motor tariff: what is asked, what is a mistake, and what it costs. Invented, but the same for everybody.

use super::latin1::LatinForm;
use jiff::civil::Date;

/// What is insured, all of it checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Risk {
    pub(super) name: String,
    pub(super) plate: String,
    pub(super) hsn: String,
    pub(super) tsn: String,
    pub(super) birth: Date,
    pub(super) start: Date,
    /// The no-claims class: `None` is the class M, after claims.
    pub(super) no_claims: Option<u32>,
    pub(super) kilometres: u32,
    pub(super) cover: Cover,
    pub(super) instalments: u32,
}

/// How much is covered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cover {
    Liability,
    PartlyComprehensive,
    Comprehensive,
}

impl Cover {
    fn parse(code: &str) -> Option<Self> {
        match code {
            "HP" => Some(Self::Liability),
            "TK" => Some(Self::PartlyComprehensive),
            "VK" => Some(Self::Comprehensive),
            _ => None,
        }
    }

    pub(super) const fn label(self) -> &'static str {
        match self {
            Self::Liability => "Haftpflicht",
            Self::PartlyComprehensive => "Haftpflicht und Teilkasko",
            Self::Comprehensive => "Haftpflicht und Vollkasko",
        }
    }

    const fn percent(self) -> u64 {
        match self {
            Self::Liability => 100,
            Self::PartlyComprehensive => 135,
            Self::Comprehensive => 190,
        }
    }
}

/// A price in cents.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Price {
    /// A year, with insurance tax.
    pub(super) year: u64,
    /// The tax in it: 19 %, § 6 VersStG.
    pub(super) tax: u64,
    /// One instalment, with its surcharge.
    pub(super) instalment: u64,
}

impl Risk {
    /// Reads the form, or says everything that is wrong with it.
    pub(super) fn parse(form: &LatinForm) -> Result<Self, Vec<&'static str>> {
        let mut mistakes = Vec::new();
        let mut check = |good: bool, mistake: &'static str| {
            if !good {
                mistakes.push(mistake)
            }
        };
        let hsn = form.get("hsn");
        let tsn = form.get("tsn").to_ascii_uppercase();
        let birth = date(form.get("geburtsdatum"));
        let start = date(form.get("beginn"));
        let kilometres = form
            .get("km")
            .replace('.', "")
            .parse()
            .ok()
            .filter(|km| (1_000..=200_000).contains(km));
        let no_claims = no_claims(form.get("sf"));
        let cover = Cover::parse(form.get("deckung"));
        let instalments = form
            .get("zahlung")
            .parse()
            .ok()
            .filter(|count| [1, 2, 4].contains(count));
        let adult = birth
            .zip(start)
            .is_none_or(|(birth, start)| (17..=110).contains(&years(birth, start)));

        check(
            !form.get("name").is_empty(),
            "Bitte geben Sie den Namen des Versicherungsnehmers ein.",
        );
        check(
            !form.get("kennzeichen").is_empty(),
            "Bitte geben Sie das amtliche Kennzeichen ein.",
        );
        check(
            hsn.len() == 4 && all_digits(hsn),
            "Die Herstellerschlüsselnummer (HSN) hat vier Ziffern.",
        );
        check(
            tsn.len() == 3 && tsn.bytes().all(|byte| byte.is_ascii_alphanumeric()),
            TSN_MISTAKE,
        );
        check(
            birth.is_some(),
            "Bitte geben Sie das Geburtsdatum in der Form TT.MM.JJJJ ein.",
        );
        check(
            start.is_some(),
            "Bitte geben Sie den Versicherungsbeginn in der Form TT.MM.JJJJ ein.",
        );
        check(
            adult,
            "Das Alter des Versicherungsnehmers muss zwischen 17 und 110 Jahren liegen.",
        );
        check(
            kilometres.is_some(),
            "Die jährliche Kilometerleistung muss zwischen 1.000 und 200.000 km liegen.",
        );
        check(
            no_claims.is_some(),
            "Bitte wählen Sie eine Schadenfreiheitsklasse.",
        );
        check(cover.is_some(), "Bitte wählen Sie die gewünschte Deckung.");
        check(
            instalments.is_some(),
            "Bitte wählen Sie eine Zahlungsweise.",
        );

        let name = form.get("name").to_owned();
        let plate = form.get("kennzeichen").to_owned();
        match (birth, start, kilometres, no_claims, cover, instalments) {
            (
                Some(birth),
                Some(start),
                Some(kilometres),
                Some(no_claims),
                Some(cover),
                Some(instalments),
            ) if mistakes.is_empty() => Ok(Self {
                name,
                plate,
                hsn: hsn.to_owned(),
                tsn,
                birth,
                start,
                no_claims,
                kilometres,
                cover,
                instalments,
            }),
            _ => Err(mistakes),
        }
    }

    /// The sample that a first visitor can look at.
    pub(super) fn sample() -> Self {
        Self {
            name: "Jürgen Groß".to_owned(),
            plate: "K-ÄÖ 42".to_owned(),
            hsn: "0603".to_owned(),
            tsn: "BGU".to_owned(),
            birth: Date::constant(1974, 5, 17),
            start: Date::constant(2027, 1, 1),
            no_claims: Some(12),
            kilometres: 15_000,
            cover: Cover::PartlyComprehensive,
            instalments: 1,
        }
    }

    /// 380 to 560 EUR by type of car, times no-claims class, kilometres, age and cover, plus tax.
    pub(super) fn price(&self) -> Price {
        let base = 38_000 + self.type_class() * 1_200;
        let percents = [
            self.no_claims_percent(),
            self.kilometres_percent(),
            self.age_percent(),
            self.cover.percent(),
        ];
        let net = percents
            .iter()
            .fold(base, |cents, percent| cents * percent / 100);
        let tax = net * 19 / 100;
        let surcharge = match self.instalments {
            1 => 100,
            2 => 103,
            _ => 105,
        };
        let year = net + tax;
        Price {
            year,
            tax,
            instalment: year * surcharge / 100 / u64::from(self.instalments.max(1)),
        }
    }

    pub(super) fn no_claims_label(&self) -> String {
        self.no_claims
            .map_or_else(|| "M".to_owned(), |class| format!("SF {class}"))
    }

    /// 0 to 15, from the two key numbers of the car.
    fn type_class(&self) -> u64 {
        self.hsn
            .bytes()
            .chain(self.tsn.bytes())
            .map(u64::from)
            .sum::<u64>()
            % 16
    }

    fn no_claims_percent(&self) -> u64 {
        self.no_claims
            .map_or(140, |class| (2_000 / (20 + 4 * u64::from(class))).max(20))
    }

    fn kilometres_percent(&self) -> u64 {
        70 + u64::from(self.kilometres) / 500
    }

    fn age_percent(&self) -> u64 {
        match years(self.birth, self.start) {
            ..25 => 160,
            25..70 => 100,
            _ => 125,
        }
    }
}

const TSN_MISTAKE: &str = "Die Typschlüsselnummer (TSN) hat drei Buchstaben oder Ziffern.";

pub(super) fn euros(cents: u64) -> String {
    let mut whole = (cents / 100).to_string();
    for at in (1..whole.len())
        .rev()
        .filter(|at| (whole.len() - at).is_multiple_of(3))
        .collect::<Vec<_>>()
    {
        whole.insert(at, '.');
    }
    format!("{whole},{:02}", cents % 100)
}

/// A date as `TT.MM.JJJJ`.
pub(super) fn german(date: Date) -> String {
    format!("{:02}.{:02}.{:04}", date.day(), date.month(), date.year())
}

fn date(text: &str) -> Option<Date> {
    let mut parts = text.split('.').filter(|part| all_digits(part));
    let day = parts.next()?;
    let month = parts.next()?;
    let year = parts.next()?;
    (year.len() == 4 && parts.next().is_none()).then_some(())?;
    Date::new(year.parse().ok()?, month.parse().ok()?, day.parse().ok()?).ok()
}

/// Full years from one day to the other.
fn years(from: Date, to: Date) -> i32 {
    let before_birthday = (to.month(), to.day()) < (from.month(), from.day());
    i32::from(to.year()) - i32::from(from.year()) - i32::from(before_birthday)
}

fn no_claims(code: &str) -> Option<Option<u32>> {
    match code {
        "M" => Some(None),
        _ => code.parse().ok().filter(|class| *class <= 35).map(Some),
    }
}

fn all_digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "name=J%FCrgen&kennzeichen=K-A+1&hsn=0603&tsn=bgu&geburtsdatum=17.05.1974\
                                   &beginn=01.01.2027&sf=12&km=15.000&deckung=TK&zahlung=1";

    #[test]
    fn the_same_question_has_the_same_price() {
        let risk = Risk::parse(&LatinForm::parse(GOOD.as_bytes())).unwrap();
        assert_eq!(
            (
                risk.type_class(),
                risk.no_claims_percent(),
                risk.kilometres_percent()
            ),
            (7, 29, 100)
        );
        // 464.00, of it 29 % and of that 135 %, are 181.65, and 19 % of tax.
        assert_eq!(
            risk.price(),
            Price {
                year: 18_165 + 3_451,
                tax: 3_451,
                instalment: 21_616
            }
        );
        assert_eq!(
            risk.price(),
            Risk {
                name: "Jürgen".into(),
                plate: "K-A 1".into(),
                ..Risk::sample()
            }
            .price()
        );
        let quarterly = Risk {
            instalments: 4,
            ..risk.clone()
        }
        .price();
        assert_eq!(quarterly.instalment, quarterly.year * 105 / 100 / 4);
        assert!(
            Risk {
                no_claims: None,
                ..risk.clone()
            }
            .price()
            .year
                > risk.price().year * 4
        );
    }

    #[test]
    fn every_mistake_is_named() {
        for (good, bad, word) in [
            ("hsn=0603", "hsn=603", "HSN"),
            ("tsn=bgu", "tsn=b%FC", "TSN"),
            ("17.05.1974", "31.02.1974", "Geburtsdatum"),
            ("17.05.1974", "01.01.2020", "Alter"),
            ("01.01.2027", "1.1.27", "Versicherungsbeginn"),
            ("km=15.000", "km=999", "Kilometerleistung"),
            ("sf=12", "sf=36", "Schadenfreiheitsklasse"),
            ("deckung=TK", "deckung=XX", "Deckung"),
            ("zahlung=1", "zahlung=3", "Zahlungsweise"),
            ("name=J%FCrgen", "name=+", "Namen"),
        ] {
            let mistakes =
                Risk::parse(&LatinForm::parse(GOOD.replace(good, bad).as_bytes())).unwrap_err();
            assert!(
                mistakes.len() == 1 && mistakes[0].contains(word),
                "{bad}: {mistakes:?}"
            );
        }
        assert_eq!(Risk::parse(&LatinForm::default()).unwrap_err().len(), 10);
    }

    #[test]
    fn amounts_and_dates_are_written_the_german_way() {
        assert_eq!(
            [euros(5), euros(123_456), euros(100_000_000)],
            ["0,05", "1.234,56", "1.000.000,00"]
        );
        assert_eq!(german(Date::constant(2027, 1, 2)), "02.01.2027");
    }
}
