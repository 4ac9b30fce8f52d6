//! The sign-in with a user key and a password.

use super::desk::{Desk, NUMBERS, Tab};
use super::steps::{asked, change_rules};
use crate::clock::Rng;
use crate::config::{HashCost, PasswordConfig};
use crate::identity::users::{self, Hash, Hashers, Password, Passwords, Put, User, UserKey, Users};
use crate::sign_in::{PasswordAnswer, PasswordClaim};
use domain::ids::DeviceToken;
use domain::session::{Level, Proof};
use domain::trust::TrustLevel;
use domain::vtnr::Vtnr;
use std::num::NonZero;
use std::sync::Arc;
use std::time::Duration;

const COST: HashCost = HashCost {
    memory: 64,
    iterations: 1,
    lanes: 1,
};

/// A user `ada` of the first broker, and one of a broker who left.
fn passwords(desk: &Desk) -> Passwords {
    let file = desk.folder.path().join("users.csv");
    for (name, number) in [("ada", NUMBERS[0]), ("gone", "60/999/9999")] {
        let user = User {
            vtnr: Vtnr::parse(number).expect("well-formed"),
            hash: Hash::of(&password("ein-langes-kennwort"), COST, Rng).expect("hashes"),
        };
        let put = users::put(&file, name, user, key(name), Put::Added);
        assert!(put.expect("written").is_some());
    }
    let users = Users::open(&file, Duration::from_secs(1)).expect("users");
    let config = PasswordConfig {
        file,
        cost: COST,
        hashers: NonZero::<usize>::MIN,
        queue: 4,
    };
    let metrics = Arc::clone(&desk.sign_ins.metrics);
    let hashers = Hashers::start(1, 4, metrics).expect("a thread");
    Passwords::new(&config, Arc::new(users), hashers, Rng)
}

fn key(name: &str) -> UserKey {
    UserKey::parse(name).expect("a user key")
}

fn password(text: &str) -> Password {
    Password::parse(text).unwrap_or_else(|malformed| panic!("{malformed:?}"))
}

async fn with_password(
    desk: &Desk,
    passwords: &Passwords,
    tab: &Tab,
    (name, text): (&str, &str),
    device: Option<DeviceToken>,
) -> PasswordAnswer {
    let claim = PasswordClaim {
        user: key(name),
        password: password(text),
        device,
    };
    desk.sign_ins
        .with_password(passwords, &tab.visitor(), claim, desk.now())
        .await
        .expect("the store works")
}

#[tokio::test]
async fn a_right_password_signs_in_fully_and_makes_the_browser_a_device() {
    let desk = Desk::open();
    let passwords = passwords(&desk);
    let mut tab = Tab::new(1);
    let _ = asked(&desk, &mut tab).await;
    let right = ("ada", "ein-langes-kennwort");
    let answer = with_password(&desk, &passwords, &tab, right, None).await;
    let PasswordAnswer::SignedIn(new, device) = answer else {
        panic!("{answer:?}")
    };
    let session = desk.session(&new.session).await.expect("a live session");
    let is_full = matches!(
        session.level,
        Level::Full {
            proof: Proof::Password { .. }
        }
    );
    assert!(is_full && new.browser.is_none(), "{session:?}");
    assert!(
        !desk.is_under_way(tab.flow).await,
        "the former sign-in is over"
    );
    for wrong in [
        ("ada", "ein-anderes-kennwort"),
        ("niemand", "ein-langes-kennwort"),
        ("gone", "ein-langes-kennwort"),
    ] {
        let answer = with_password(&desk, &passwords, &tab, wrong, None).await;
        assert!(
            matches!(answer, PasswordAnswer::Wrong),
            "{wrong:?}: {answer:?}"
        );
    }
    change_rules(&desk, |rules| {
        rules.limits.wrong_passwords_day.limit = 1;
        rules.limits.wrong_passwords_known.limit = 1;
    });
    let spent = with_password(&desk, &passwords, &tab, right, None).await;
    let is_strangers = matches!(
        spent,
        PasswordAnswer::Exhausted {
            trust_level: TrustLevel::Stranger,
            ..
        }
    );
    assert!(is_strangers, "{spent:?}");
    let known = with_password(&desk, &passwords, &tab, right, Some(device)).await;
    let PasswordAnswer::SignedIn(_, device) = known else {
        panic!("a device has a budget of its own: {known:?}")
    };
    let wrong = ("ada", "ein-anderes-kennwort");
    let answer = with_password(&desk, &passwords, &tab, wrong, Some(device)).await;
    assert!(matches!(answer, PasswordAnswer::Wrong), "{answer:?}");
    let spent = with_password(&desk, &passwords, &tab, right, Some(device)).await;
    let is_devices = matches!(
        spent,
        PasswordAnswer::Exhausted {
            trust_level: TrustLevel::Known,
            ..
        }
    );
    assert!(is_devices, "{spent:?}");
    desk.revoke(0).await;
    let revoked = with_password(&desk, &passwords, &tab, right, Some(device)).await;
    let is_strangers = matches!(
        revoked,
        PasswordAnswer::Exhausted {
            trust_level: TrustLevel::Stranger,
            ..
        }
    );
    assert!(is_strangers, "a revocation ends devices: {revoked:?}");
}

#[tokio::test]
async fn failures_of_one_client_have_an_end_whatever_the_user() {
    let desk = Desk::open();
    let passwords = passwords(&desk);
    change_rules(&desk, |rules| rules.limits.failures_client.limit = 2);
    for name in ["a", "b"] {
        let wrong = (name, "ein-langes-kennwort");
        let answer = with_password(&desk, &passwords, &Tab::new(1), wrong, None).await;
        assert!(matches!(answer, PasswordAnswer::Wrong), "{answer:?}");
    }
    let right = ("ada", "ein-langes-kennwort");
    let begun = desk.now();
    let answer = with_password(&desk, &passwords, &Tab::new(1), right, None).await;
    let PasswordAnswer::TooMany { until } = answer else {
        panic!("{answer:?}")
    };
    assert_eq!(until, begun.plus(Duration::from_secs(3_600)));
    let other = with_password(&desk, &passwords, &Tab::new(2), right, None).await;
    assert!(matches!(other, PasswordAnswer::SignedIn(..)), "{other:?}");
}
