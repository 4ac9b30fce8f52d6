//! After a hundred sign-ins of all kinds: nothing secret lies in the store, the logs, the metrics, or at the calculator.

use crate::support::users::{COST, UsersFile};
use crate::support::world::{World, not, tan_of};
use crate::support::{Browser, StoreKind, eventually};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use std::collections::{BTreeSet, HashMap};
use vtnr_gateway::config::HashCost;

const TAN: &str = "/ui/login/de/tan";
const BROKERS: usize = 20;
const LIMITS: &str = "[limits]\nmail_pause = \"1000 in 1s\"\nmail_burst = \"1000 in 1m\"\nmail_day = \"1000 in 24h\"\nfailures_client = \"1000 in 1h\"\n\
                      vtnrs_client = \"1000 in 1h\"\nwrong_tans_client = \"1000 in 24h\"\nwrong_tans_day = \"1000 in 24h\"\nwrong_tans_month = \"1000 in 30d\"";

/// What must occur nowhere: as people write it, and as machines might.
#[derive(Default)]
struct Canaries(BTreeSet<Vec<u8>>);

impl Canaries {
    fn tan(&mut self, tan: &str) {
        self.0.extend([
            tan.as_bytes().to_vec(),
            tan.to_lowercase().into_bytes(),
            STANDARD.encode(tan).into_bytes(),
            hex(tan.as_bytes()),
        ]);
    }

    fn token(&mut self, cookie: Option<String>) {
        let Some(cookie) = cookie else { return };
        let raw = URL_SAFE_NO_PAD.decode(&cookie).expect("base64url");
        assert_eq!(raw.len(), 32);
        self.0.extend([
            hex(&raw),
            STANDARD.encode(&raw).into_bytes(),
            raw[..16].to_vec(),
            cookie.into_bytes(),
        ]);
    }

    fn broker(&mut self, vtnr: &str, email: &str) {
        let digits = vtnr.replace('/', "");
        let spellings = [
            vtnr.to_owned(),
            vtnr.replace('/', " "),
            vtnr.replace('/', "-"),
            vtnr.replace('/', "%2F"),
            digits.clone(),
            STANDARD.encode(&digits),
        ];
        self.0.extend(spellings.map(String::into_bytes));
        let local = email.split('@').next().expect("a local part");
        self.0.extend(
            [local, email, &email.replace('@', "%40")].map(|text| text.as_bytes().to_vec()),
        );
        self.0.insert(STANDARD.encode(email).into_bytes());
    }

    /// A user key or a password, as they are typed, and as forms, files and machines write them.
    fn typed(&mut self, text: &str) {
        let form = form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
        let spellings = [
            text.to_owned(),
            text.to_lowercase(),
            form,
            STANDARD.encode(text),
        ];
        self.0.extend(spellings.map(String::into_bytes));
        self.0.insert(hex(text.as_bytes()));
        self.0
            .insert(text.chars().rev().collect::<String>().into_bytes());
    }

    fn cookies_of(&mut self, browser: &Browser) {
        for name in ["vtnr_session", "vtnr_trust", "vtnr_flow", "vtnr_device"] {
            self.token(browser.cookie(name));
        }
    }

    fn are_not_in(&self, what: &str, bytes: &[u8]) {
        let mut by_beginning: HashMap<[u8; 4], Vec<&[u8]>> = HashMap::new();
        for canary in &self.0 {
            by_beginning
                .entry(canary[..4].try_into().expect("four bytes"))
                .or_default()
                .push(canary);
        }
        for (at, beginning) in bytes.windows(4).enumerate() {
            for canary in by_beginning.get(beginning).into_iter().flatten() {
                let found = bytes[at..].starts_with(canary);
                assert!(
                    !found,
                    "{} is in {what}: {:?}",
                    String::from_utf8_lossy(canary),
                    around(bytes, at)
                );
            }
        }
    }
}

fn hex(bytes: &[u8]) -> Vec<u8> {
    bytes
        .iter()
        .flat_map(|byte| format!("{byte:02x}").into_bytes())
        .collect()
}

fn around(bytes: &[u8], at: usize) -> String {
    String::from_utf8_lossy(&bytes[at.saturating_sub(200)..(at + 200).min(bytes.len())])
        .into_owned()
}

fn broker(number: usize) -> (String, String) {
    (
        format!("60/7{number:02}/8{number:03}"),
        format!("kanarienvogel{number}@geheim.example"),
    )
}

#[tokio::test]
async fn a_hundred_sign_ins_leave_no_secret_anywhere() {
    let world = World::builder()
        .store(StoreKind::OwnRedis)
        .config(LIMITS)
        .start()
        .await;
    let lines: String = (0..BROKERS)
        .map(broker)
        .map(|(vtnr, email)| format!("{vtnr};{email}\n"))
        .collect();
    world.write_brokers(&format!("vtnr;email\n{lines}"));
    world.log_has("directory reloaded").await;
    let mut canaries = Canaries::default();
    for number in 0..BROKERS {
        sign_in_in_all_ways(&world, number, &mut canaries).await;
    }
    assert!(
        canaries.0.len() > BROKERS * 30,
        "{} canaries",
        canaries.0.len()
    );
    let store = dump(&world);
    assert!(store.len() > 20_000, "{} bytes of store", store.len());
    canaries.are_not_in("the store", &store);
    canaries.are_not_in("the metrics", world.gateways[0].metrics().await.as_bytes());
    let log = world.log().await;
    assert!(
        log.matches("\"sign_in\"").count() > 100,
        "the audit log tells of them"
    );
    canaries.are_not_in("the log", log.as_bytes());
    let ours = |cookies: &str| cookies.contains("vtnr_");
    let seen = world.calculator.requests();
    assert!(
        seen.len() >= 3 * BROKERS
            && seen.iter().all(|request| request
                .headers
                .get_all("cookie")
                .iter()
                .all(|field| !ours(field.to_str().expect("ASCII"))))
    );
}

#[tokio::test]
async fn user_keys_and_passwords_are_nowhere_but_in_the_users_file() {
    let (users, mut canaries) = (UsersFile::of_two(), Canaries::default());
    let world = users
        .world(HashCost {
            memory: 128,
            ..COST
        })
        .store(StoreKind::OwnRedis)
        .config(LIMITS)
        .start()
        .await;
    let (vtnr, email) = broker(7);
    canaries.broker(&vtnr, &email);
    world.write_brokers(&format!("vtnr;email\n{vtnr};{email}\n"));
    let claims: Vec<_> = (0..10)
        .map(|n| {
            (
                format!("Kanarienschlüssel-{n}"),
                format!("Geheimer Satz Nr. {n}!"),
            )
        })
        .collect();
    for (user, password) in &claims {
        users.add((user, password), &vtnr, COST);
        canaries.typed(user);
        canaries.typed(password);
    }
    world.log_has("directory reloaded").await;
    eventually("they are known", async || {
        (world.metric("vtnr_gateway_users").await == 12.0).then_some(())
    })
    .await;
    for (user, password) in &claims {
        let (browser, wrong) = (world.browser(), format!("{password}?"));
        for guess in [&wrong, &user.to_owned()] {
            browser.enter_password((user, guess), "/").await.is(200);
            browser
                .enter_password((&format!("{user}x"), guess), "/")
                .await
                .is(200);
        }
        browser
            .enter_password((user, password), "/")
            .await
            .leads_to("/");
        canaries.cookies_of(&browser);
        browser.open("/kfz/angebot?id=42").await.is(200);
    }
    let (user, password) = &claims[0];
    for _ in 0..10 {
        world
            .browser()
            .enter_password((user, &format!("{password}?")), "/")
            .await;
    }
    users.replace(&format!("{}{user};{password};{password}\n", users.text()));
    world.log_has("keeping the previous users").await;
    assert!(canaries.0.len() > 150, "{} canaries", canaries.0.len());
    canaries.are_not_in("the store", &dump(&world));
    canaries.are_not_in("the metrics", world.gateways[0].metrics().await.as_bytes());
    let log = world.log().await;
    assert!(
        log.matches("\"step\":\"password\"").count() > 50,
        "the audit log tells of them"
    );
    canaries.are_not_in("the log", log.as_bytes());
    let pid = world.gateways[0].pid();
    for file in ["cmdline", "environ"] {
        canaries.are_not_in(
            file,
            &std::fs::read(format!("/proc/{pid}/{file}")).expect("our own process"),
        );
    }
}

/// Five sign-ins: with a TAN after wrong ones and a second mail; trusted, twice; without e-mail; and one left at its TAN.
async fn sign_in_in_all_ways(world: &World, number: usize, canaries: &mut Canaries) {
    let (vtnr, email) = broker(number);
    canaries.broker(&vtnr, &email);
    let browser = world.browser();
    let tan = world.ask(&browser, (&vtnr, &email)).await;
    canaries.tan(&tan);
    canaries.cookies_of(&browser);
    for wrong in [&not(&tan, 0), &not(&tan, 1), "BCD", "%00"] {
        browser.enter_tan(wrong, "/").await.is(200);
    }
    let before = world.postbox.mails().len();
    browser
        .post(TAN, &[("action", "resend")])
        .await
        .leads_to(TAN);
    assert_eq!(tan_of(&world.postbox.next(before).await), tan);
    browser
        .enter_tan(&tan.to_lowercase(), "/")
        .await
        .leads_to("/");
    canaries.cookies_of(&browser);
    browser.open("/kfz/angebot?id=42").await.is(200);
    browser.post("/ui/login/de/abmelden", &[]).await.is(200);
    for _ in 0..2 {
        browser
            .claim(&vtnr.replace('/', ""), &email.to_uppercase(), "/")
            .await
            .leads_to("/");
        canaries.cookies_of(&browser);
        browser.open("/").await.is(200);
    }
    let reduced = world.browser();
    reduced
        .claim(&vtnr, &format!("x{email}"), "/")
        .await
        .leads_to("/ui/login/de/unbekannte-e-mail");
    canaries.cookies_of(&reduced);
    reduced
        .post(
            "/ui/login/de/unbekannte-e-mail",
            &[("action", "without-email")],
        )
        .await
        .leads_to("/");
    canaries.cookies_of(&reduced);
    reduced
        .post("/antrag/versand", &[("angebot", "42")])
        .await
        .is(403);
    let left = world.browser();
    canaries.tan(&world.ask(&left, (&vtnr, &email)).await);
    canaries.cookies_of(&left);
}

/// All keys and values, whatever their type, as redis-server would copy them to another.
fn dump(world: &World) -> Vec<u8> {
    let redis = world
        .redis
        .as_ref()
        .expect("a redis-server")
        .lock()
        .expect("no panic");
    let script = "local all = {} for _, key in ipairs(redis.call('KEYS', '*')) do local kind = redis.call('TYPE', key).ok \
                  local value = kind == 'string' and redis.call('GET', key) or kind == 'zset' and table.concat(redis.call('ZRANGE', key, 0, -1), ' ') \
                  or kind == 'hash' and table.concat(redis.call('HGETALL', key), ' ') or kind all[#all + 1] = key .. ' ' .. value end \
                  return table.concat(all, ' ')";
    redis.raw(&format!("EVAL \"{script}\" 0"))
}
