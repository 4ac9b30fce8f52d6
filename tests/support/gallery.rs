//! Every page in every state that it can be in, drawn by the real templates, without a gateway behind them.

use axum::Router;
use axum::extract::{Path, State};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::get;
use http::StatusCode;
use http::header::CONTENT_TYPE;
use std::collections::HashMap;
use std::sync::Arc;
use tempfile::TempDir;
use tokio::net::TcpListener;
use vtnr_gateway::config::Config;
use vtnr_gateway::pages::{Pages, sample};

/// A server that shows the pages.
pub struct Gallery {
    base: String,
    names: Vec<String>,
}

struct Hall {
    pages: Pages,
    drawn: HashMap<String, String>,
}

impl Gallery {
    /// The pages of this brand: lines of `[brand]`. Files that they name lie in `folder`.
    pub async fn open(brand: &str, folder: &TempDir) -> Self {
        std::fs::write(folder.path().join("brokers.csv"), "vtnr;email\n").expect("written");
        let config = format!(
            "[listen]\nhttp = \"127.0.0.1:1\"\npublic_url = \"http://127.0.0.1:1\"\n[upstream]\nurl = \"http://127.0.0.1:2\"\n\
             [store]\nurl = \"memory:\"\nsecret = \"0123456789abcdef0123456789abcdef\"\n[directory]\nfile = \"brokers.csv\"\n\
             [mail]\nurl = \"smtp://127.0.0.1:3\"\nfrom = \"noreply@insurer.example\"\n[submission]\npaths = [\"/antrag/versand\"]\n\
             [login]\npassword_url = \"/kennwort\"\ncertificate_url = \"/zertifikat\"\n[admin]\nlisten = \"127.0.0.1:4\"\n\
             [brand]\nsupport_phone = \"0800 000 0000\"\nsupport_email = \"hilfe@insurer.example\"\n{brand}\n"
        );
        let config =
            Config::parse(&config, folder.path()).unwrap_or_else(|mistakes| panic!("{mistakes}"));
        let pages = Pages::load(&config.brand, &config.login, &config.parking)
            .unwrap_or_else(|error| panic!("{error}"));
        let views = sample::views();
        let drawn = views
            .iter()
            .map(|(name, view)| (name.clone(), pages.render(view, sample::NOW)))
            .collect();
        let router = Router::new()
            .route("/ui/login/de/assets/{name}", get(asset))
            .route("/ui/login/de/{name}", get(page))
            .with_state(Arc::new(Hall { pages, drawn }));
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let base = format!(
            "http://{}/ui/login/de/",
            listener.local_addr().expect("bound")
        );
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self {
            base,
            names: views.into_iter().map(|(name, _)| name).collect(),
        }
    }

    /// Name and address of every page.
    pub fn pages(&self) -> impl Iterator<Item = (&str, String)> {
        self.names
            .iter()
            .map(|name| (name.as_str(), format!("{}{name}", self.base)))
    }
}

async fn page(State(hall): State<Arc<Hall>>, Path(name): Path<String>) -> Response {
    hall.drawn.get(&name).map_or_else(
        || StatusCode::NOT_FOUND.into_response(),
        |page| Html(page.clone()).into_response(),
    )
}

async fn asset(State(hall): State<Arc<Hall>>, Path(name): Path<String>) -> Response {
    let asset = hall.pages.asset(&name);
    asset.map_or_else(
        || StatusCode::NOT_FOUND.into_response(),
        |asset| ([(CONTENT_TYPE, asset.content_type)], asset.body.clone()).into_response(),
    )
}
