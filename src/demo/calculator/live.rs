//! What moves by itself: the news ticker (server-sent events) and the fund prices (WebSocket).

use super::visit::CalculatorVisit;
use axum::extract::ws::{Message, WebSocket, WebSocketUpgrade};
use axum::response::Response;
use axum::response::sse::{Event, Sse};
use futures_util::stream::{Stream, unfold};
use minijinja::context;
use std::convert::Infallible;
use std::time::Duration;
use tokio::time::{Instant, interval, interval_at};

const TICKER_PAUSE: Duration = Duration::from_secs(2);
const QUOTES_PAUSE: Duration = Duration::from_secs(3);

const NEWS: [&str; 4] = [
    "Der Stichtag für den Wechsel der Kfz-Versicherung ist der 30. November.",
    "Anträge können jetzt elektronisch versendet werden.",
    "Angebote lassen sich als PDF und als CSV-Datei speichern.",
    "Alle Preise in diesem Rechner sind frei erfunden.",
];
const FUNDS: [&str; 3] = ["Wachstum Europa", "Renten Welt", "Immobilien Deutschland"];

/// `GET /kurse`: the page with the fund prices.
pub(super) async fn page(visit: CalculatorVisit) -> Response {
    visit.page("quotes.html", context! {})
}

/// `GET /ticker`: a piece of news at once, then one every two seconds.
pub(super) async fn ticker() -> Sse<impl Stream<Item = Result<Event, Infallible>>> {
    Sse::new(unfold(
        (interval(TICKER_PAUSE), NEWS.iter().cycle().zip(1_u64..)),
        |(mut pause, mut news)| async move {
            pause.tick().await;
            let (text, number) = news.next()?;
            let event = Event::default()
                .id(number.to_string())
                .data(format!("Meldung {number}: {text}"));
            Some((Ok(event), (pause, news)))
        },
    ))
}

/// `GET /ws/kurse`: says back whatever it is told, and a price every three seconds.
pub(super) async fn quotes(handshake: WebSocketUpgrade) -> Response {
    handshake.on_upgrade(talk)
}

async fn talk(mut socket: WebSocket) {
    let mut pause = interval_at(Instant::now() + QUOTES_PAUSE, QUOTES_PAUSE);
    let mut prices = FUNDS.iter().cycle().zip(0_u64..);
    loop {
        let message = tokio::select! {
            heard = socket.recv() => match heard {
                Some(Ok(message @ (Message::Text(_) | Message::Binary(_)))) => message,
                Some(Ok(_)) => continue,
                _ => return,
            },
            _ = pause.tick() => match prices.next() {
                Some((fund, number)) => Message::Text(price(fund, number).into()),
                None => return,
            }
        };
        if socket.send(message).await.is_err() {
            return;
        }
    }
}

/// A price that wanders between 100 and 109 EUR, always the same way.
fn price(fund: &str, number: u64) -> String {
    format!("{fund};{},{:02}", 100 + number * 7 % 10, number * 37 % 100)
}
