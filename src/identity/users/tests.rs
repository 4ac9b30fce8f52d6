use super::*;
use crate::telemetry::metrics::Metrics;
use std::collections::BTreeSet;
use std::fs::{self, File, Permissions};
use std::num::NonZero;
use std::os::unix::fs::MetadataExt;
use tempfile::TempDir;

const COST: HashCost = HashCost {
    memory: 64,
    iterations: 1,
    lanes: 1,
};
const POLL: Duration = Duration::from_secs(1);
const LATER: Timestamp = Timestamp::from_millis(u64::MAX);
const PASSWORD: &str = "correct horse battery staple";

fn key(text: &str) -> UserKey {
    UserKey::parse(text).expect("a user key")
}

fn password(text: &str) -> Password {
    Password::parse(text).unwrap_or_else(|malformed| panic!("{malformed:?}"))
}

fn user(text: &str, cost: HashCost) -> User {
    let vtnr = Vtnr::parse("60/123/4567").expect("well-formed");
    User {
        vtnr,
        hash: Hash::of(&password(text), cost, Rng).expect("hashes"),
    }
}

fn add(file: &Path, name: &str) -> Result<Option<()>, Error> {
    put(file, name, user(PASSWORD, COST), key(name), Put::Added)
}

/// A file with these users.
fn file_of(folder: &TempDir, names: &[&str]) -> PathBuf {
    let file = folder.path().join("users.csv");
    for name in names {
        assert!(add(&file, name).expect("writes").is_some());
    }
    file
}

fn folder() -> TempDir {
    TempDir::new().expect("a folder")
}

fn names(file: &Path) -> BTreeSet<String> {
    list(file)
        .expect("a sound file")
        .into_iter()
        .map(|(name, ..)| name)
        .collect()
}

fn set(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(ToString::to_string).collect()
}

fn chmod(file: &Path, mode: u32) {
    fs::set_permissions(file, Permissions::from_mode(mode)).expect("permissions");
}

fn look(users: &Users, now: Timestamp) -> Option<Result<usize, Error>> {
    let reloaded = users.current.reload_if_due(now);
    reloaded.map(|reloaded| reloaded.outcome)
}

fn told(file: &Path) -> String {
    Users::open(file, POLL)
        .err()
        .map(|error| error.to_string())
        .unwrap_or_default()
}

#[test]
fn users_are_added_replaced_and_removed_whatever_the_spelling() {
    let (folder, file) = (folder(), PathBuf::new());
    assert!(matches!(
        remove(&file, &key("ada")),
        Err(Error::Unreadable(..))
    ));
    let file = file_of(&folder, &["Ada", "ben"]);
    assert_eq!(
        fs::metadata(&file).expect("it is there").mode() & 0o777,
        0o600
    );
    assert!(
        add(&file, " ADA ").expect("sound").is_none(),
        "there is one"
    );
    assert!(
        is_there(&file, &key("aDA")).expect("sound")
            && !is_there(&file, &key("cem")).expect("sound")
    );
    assert!(
        put(&file, "cem", user("x", COST), key("cem"), Put::Replaced)
            .expect("sound")
            .is_none(),
        "there is none"
    );
    assert!(
        put(
            &file,
            "ADA",
            user("another", COST),
            key("ada"),
            Put::Replaced
        )
        .expect("writes")
        .is_some()
    );
    assert_eq!(names(&file), set(&["ADA", "ben"]));
    let users = Users::open(&file, POLL).expect("a sound file");
    let is = |text: &str| {
        users
            .snapshot()
            .find(&key("ada"))
            .map(|user| user.hash.is_of(&password(text)))
    };
    assert_eq!(
        (is("another"), is(PASSWORD)),
        (Some(Ok(true)), Some(Ok(false)))
    );
    assert!(
        remove(&file, &key("BEN")).expect("writes").is_some()
            && remove(&file, &key("ben")).expect("sound").is_none()
    );
    assert_eq!(names(&file), set(&["ADA"]));
}

#[test]
fn writers_do_not_lose_one_anothers_changes() {
    let folder = folder();
    let file = file_of(&folder, &["first"]);
    let all: Vec<_> = (0..24).map(|nr| format!("user-{nr}")).collect();
    std::thread::scope(|scope| {
        for name in &all {
            scope.spawn(|| add(&file, name).expect("writes").expect("is new"));
        }
    });
    assert_eq!(names(&file).len(), 25);
    let left: Vec<_> = fs::read_dir(folder.path())
        .expect("a folder")
        .flatten()
        .map(|entry| entry.file_name())
        .collect();
    assert_eq!(left, ["users.csv"], "nothing is left over");
}

#[test]
fn a_changed_file_keeps_its_permissions_and_a_link_stays_one() {
    let folder = folder();
    let file = file_of(&folder, &["ada"]);
    chmod(&file, 0o640);
    let link = folder.path().join("link");
    std::os::unix::fs::symlink(&file, &link).expect("a link");
    add(&link, "ben").expect("writes").expect("is new");
    assert!(link.symlink_metadata().expect("it is there").is_symlink());
    assert_eq!(
        (
            fs::metadata(&file).expect("it is there").mode() & 0o777,
            names(&file)
        ),
        (0o640, set(&["ada", "ben"]))
    );
}

#[test]
fn what_a_killed_writer_left_behind_is_in_nobodys_way() {
    let folder = folder();
    let file = file_of(&folder, &["ada"]);
    fs::write(folder.path().join(".users.csv.new"), "half a li").expect("written");
    add(&file, "ben").expect("writes").expect("is new");
    assert_eq!(names(&file), set(&["ada", "ben"]));
}

#[test]
fn a_file_that_others_can_read_or_write_or_that_is_none_is_not_taken() {
    let folder = folder();
    let file = file_of(&folder, &["ada"]);
    for (mode, is_sound) in [
        (0o600, true),
        (0o660, true),
        (0o400, true),
        (0o604, false),
        (0o602, false),
    ] {
        chmod(&file, mode);
        let told = told(&file);
        assert_eq!(told.is_empty(), is_sound, "{mode:o}: {told}");
        assert!(
            is_sound || told.contains("can be read or written by everybody"),
            "{told}"
        );
        assert!(is_sound || matches!(add(&file, "ben"), Err(Error::Unusable(_, UsersFault::Open))));
    }
    assert!(
        told(folder.path()).contains("this is not a file"),
        "{}",
        told(folder.path())
    );
    assert!(told(&folder.path().join("none")).ends_with("none cannot be read"));
}

#[test]
fn a_bad_file_leaves_the_former_users_in_force_and_is_told_once() {
    let folder = folder();
    let file = file_of(&folder, &["ada"]);
    let users = Users::open(&file, POLL).expect("a sound file");
    let knows = |name: &str| users.snapshot().find(&key(name)).is_some();
    assert!(look(&users, LATER).is_none(), "nothing has changed");
    let sound = fs::read(&file).expect("it is there");
    for bad in ["", "user;vtnr;hash\nben;60/123/4567;x\n", "user;vtnr\n"] {
        fs::write(&file, bad).expect("written");
        assert!(
            matches!(look(&users, LATER), Some(Err(Error::Unusable(..)))),
            "{bad:?}"
        );
        assert!(look(&users, LATER).is_none() && knows("ada"), "{bad:?}");
    }
    fs::remove_file(&file).expect("removed");
    assert!(
        look(&users, LATER).is_none(),
        "it may be about to be replaced"
    );
    assert!(matches!(
        look(&users, LATER),
        Some(Err(Error::Unreadable(..)))
    ));
    assert!(look(&users, LATER).is_none() && knows("ada"));
    fs::write(&file, sound).expect("written");
    chmod(&file, 0o600);
    add(&file, "ben").expect("writes").expect("is new");
    assert!(matches!(look(&users, LATER), Some(Ok(2))));
    assert!(knows("ada") && knows("ben"));
    remove(&file, &key("ada"))
        .expect("writes")
        .expect("was there");
    assert!(matches!(users.current.reload(LATER).outcome, Ok(1)));
    assert!(!knows("ada"));
}

#[test]
fn a_file_that_is_being_written_is_left_alone_until_it_has_come_to_rest() {
    let folder = folder();
    let file = file_of(&folder, &["ada"]);
    let users = Users::open(&file, POLL).expect("a sound file");
    add(&file, "ben").expect("writes").expect("is new");
    let just_now = Timestamp::from_millis(0);
    assert!(
        look(&users, just_now).is_none(),
        "it was changed a moment ago"
    );
    assert!(
        matches!(look(&users, just_now), Some(Ok(2))),
        "and not again since"
    );
}

/// The way in with these parameters, on one thread.
fn passwords(file: &Path, cost: HashCost) -> Passwords {
    let metrics = Arc::new(Metrics::new().expect("sound"));
    let users = Arc::new(Users::open(file, POLL).expect("a sound file"));
    let config = config::PasswordConfig {
        file: file.to_owned(),
        cost,
        hashers: NonZero::<usize>::MIN,
        queue: 4,
    };
    Passwords::new(
        &config,
        users,
        Hashers::start(1, 4, metrics).expect("a thread"),
        Rng,
    )
}

async fn signs_in(passwords: &Passwords, name: &str) {
    let user = passwords
        .users
        .snapshot()
        .find(&key(name))
        .cloned()
        .expect("a user");
    let Ok((password, true)) = passwords.compare(password(PASSWORD), Some(&user), 0).await else {
        panic!("it is right")
    };
    passwords.renew_if_due(&key(name), &user, password).await;
}

#[tokio::test]
async fn a_hash_with_other_parameters_is_renewed_when_its_user_signs_in() {
    let folder = folder();
    let file = file_of(&folder, &["ada", "ben"]);
    let stronger = HashCost {
        memory: 128,
        iterations: 2,
        lanes: 1,
    };
    let passwords = passwords(&file, stronger);
    signs_in(&passwords, "ada").await;
    let costs: Vec<_> = list(&file)
        .expect("sound")
        .into_iter()
        .map(|(.., cost)| cost)
        .collect();
    assert_eq!(costs, [stronger, COST]);
    assert!(matches!(look(&passwords.users, LATER), Some(Ok(2))));
    let before = fs::read(&file).expect("it is there");
    signs_in(&passwords, "ada").await;
    assert_eq!(
        fs::read(&file).expect("it is there"),
        before,
        "it is as it is to be"
    );
}

#[tokio::test]
async fn a_renewed_hash_does_not_undo_a_change_of_password() {
    let folder = folder();
    let file = file_of(&folder, &["ada"]);
    let passwords = passwords(
        &file,
        HashCost {
            memory: 128,
            ..COST
        },
    );
    put(
        &file,
        "ada",
        user("another", COST),
        key("ada"),
        Put::Replaced,
    )
    .expect("writes")
    .expect("was there");
    signs_in(&passwords, "ada").await;
    let users = Users::open(&file, POLL).expect("a sound file");
    let hash = users
        .snapshot()
        .find(&key("ada"))
        .map(|user| user.hash.clone())
        .expect("a user");
    assert_eq!(hash.is_of(&password("another")), Ok(true));
}

#[tokio::test]
async fn where_the_file_cannot_be_written_or_is_locked_the_sign_in_goes_on() {
    let folder = folder();
    let file = file_of(&folder, &["ada"]);
    let before = fs::read(&file).expect("it is there");
    let passwords = passwords(
        &file,
        HashCost {
            memory: 128,
            ..COST
        },
    );
    let locked = File::open(&file).expect("it is there");
    locked.lock().expect("nobody else has it");
    signs_in(&passwords, "ada").await;
    drop(locked);
    // Stands in for a folder that cannot be written to, which root can.
    fs::create_dir(folder.path().join(".users.csv.new")).expect("a folder");
    for _ in 0..2 {
        signs_in(&passwords, "ada").await;
    }
    assert_eq!(fs::read(&file).expect("it is there"), before);
}

#[tokio::test]
async fn nobody_is_compared_with_and_never_right() {
    let folder = folder();
    let file = file_of(&folder, &["ada"]);
    let passwords = passwords(&file, COST);
    for lot in [0, u64::MAX] {
        assert!(matches!(
            passwords.compare(password(PASSWORD), None, lot).await,
            Ok((_, false))
        ));
    }
}
