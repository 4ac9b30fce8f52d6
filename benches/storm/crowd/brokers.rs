//! Brokers by number, and the directory file that lists them.

use domain::vtnr::Vtnr;
use std::fmt::Write;

/// The number of the first broker: `60/000/0000`.
const FIRST: u32 = 600_000_000;

/// A broker of the directory.
#[derive(Clone, Debug)]
pub struct Broker {
    pub vtnr: Vtnr,
    pub email: String,
}

/// The broker of this number, counted from 0.
pub fn broker(number: u32) -> Broker {
    let vtnr = Vtnr::from_number(FIRST + number).expect("nine digits");
    Broker {
        vtnr,
        email: format!("broker.{number}@makler-{}.example", number % 997),
    }
}

/// A directory file with the brokers from 0 on.
pub fn directory(brokers: u32) -> String {
    (0..brokers).map(broker).fold(
        "vtnr;email\n".to_owned(),
        |mut lines, Broker { vtnr, email }| {
            let _ = writeln!(lines, "{vtnr};{email}");
            lines
        },
    )
}
