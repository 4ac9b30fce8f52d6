//! Ports that are free at the moment.

use std::collections::HashSet;
use std::net::TcpListener;
use std::sync::{LazyLock, Mutex};

static GIVEN: LazyLock<Mutex<HashSet<u16>>> = LazyLock::new(Mutex::default);

/// A port on loopback that nothing listens on and that no other test of this process was given. Below the range that the
/// kernel gives to outgoing connections, so that none of those takes it in the meantime.
pub fn free() -> u16 {
    let offset = u16::try_from(std::process::id() % 400).expect("below 400") * 50;
    for port in (11_000 + offset..31_000).chain(11_000..11_000 + offset) {
        if GIVEN.lock().expect("no test panics here").insert(port)
            && TcpListener::bind(("127.0.0.1", port)).is_ok()
        {
            return port;
        }
    }
    panic!("no free port");
}
