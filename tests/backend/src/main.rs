//! A backend that tags: JSON over HTTP/1.1, by a model that is replaced while it serves.
//!
//!     backend MODEL ADDRESS
//!
//! `POST /tag` with `{"keywords": ["zombie", "undead"]}` answers with tags and scores, and tells in the header `server-timing` how
//! many milliseconds look-up, scoring and selection took. `GET /health` tells the generation of the model. Rename a new file over
//! MODEL, and it is served within [`WATCH`]; a file that is broken, or that has other tags or keywords, is refused, and the old one stays.

use std::cell::RefCell;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::{CONTENT_TYPE, HeaderName};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::serve::ListenerExt;
use axum::{Json, Router};
use tagomatic::Model;
use tagomatic::live::{Contract, LiveTagger, Reader};
use tagomatic::selection::Selection;
use tagomatic_backend::{Answer, Given, Health, Question};

/// How often the model's file is looked at.
const WATCH: Duration = Duration::from_millis(50);

/// What all threads share.
struct Service {
    live: LiveTagger,
    health: Mutex<Health>,
}

/// What one thread needs to answer: its reader of the model, and buffers.
struct Desk {
    reader: Reader,
    scores: Vec<f32>,
    selected: Vec<usize>,
}

thread_local! {
    static DESK: RefCell<Option<Desk>> = const { RefCell::new(None) };
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let [model, address] = <[String; 2]>::try_from(std::env::args().skip(1).collect::<Vec<_>>())
        .map_err(|found| format!("expected MODEL ADDRESS, found {} arguments", found.len()))?;
    // Before the file is read, so that one which replaces it meanwhile is seen.
    let seen = identity(model.as_ref())?;
    let live = LiveTagger::new(Model::open(&model)?, Contract::Same);
    let health = Mutex::new(Health { generation: 1, ..Health::default() });
    let service = Arc::new(Service { live, health });
    let watcher = Arc::clone(&service);
    std::thread::spawn(move || watcher.watch(model.as_ref(), seen));

    let routes = Router::new().route("/tag", post(tag)).route("/health", get(health_of)).with_state(service);
    tokio::runtime::Builder::new_multi_thread().enable_io().build()?.block_on(async {
        let listener = tokio::net::TcpListener::bind(address).await?;
        println!("{}", listener.local_addr()?);
        // Answers are small, and each is wanted at once.
        let listener = listener.tap_io(|stream| drop(stream.set_nodelay(true)));
        axum::serve(listener, routes).await
    })?;
    Ok(())
}

async fn tag(State(service): State<Arc<Service>>, Json(question): Json<Question>) -> Response {
    DESK.with_borrow_mut(|desk| desk.get_or_insert_with(|| Desk::new(&service.live)).answer(&question))
}

async fn health_of(State(service): State<Arc<Service>>) -> Json<Health> {
    Json(service.health.lock().unwrap_or_else(PoisonError::into_inner).clone())
}

impl Desk {
    fn new(live: &LiveTagger) -> Self {
        Desk { reader: live.reader(), scores: Vec::new(), selected: Vec::new() }
    }

    fn answer(&mut self, question: &Question) -> Response {
        let begun = Instant::now();
        let (version, scratch) = self.reader.newest();
        let (tagger, tags) = (version.tagger(), version.tagger().tags());
        self.scores.resize(tags.len(), 0.0);
        let keywords = question.keywords.iter().map(String::as_str);
        let counts = tagger.score_keywords(keywords, scratch, &mut self.scores).and_then(|counts| {
            Selection::default().select(tags, &self.scores, counts.known, &mut self.selected)?;
            Ok(counts)
        });
        let counts = match counts {
            Ok(counts) => counts,
            Err(error) => return (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
        };
        let took = format!("tag;dur={:.6}", begun.elapsed().as_secs_f64() * 1e3);

        let given = |&tag: &usize| Given { tag: tags[tag].name.as_str().into(), score: self.scores[tag] };
        let answer = Answer {
            generation: version.generation(),
            known: counts.known,
            unknown: counts.unknown,
            tags: self.selected.iter().map(given).collect(),
        };
        match serde_json::to_vec(&answer) {
            Ok(body) => {
                let timing = HeaderName::from_static("server-timing");
                ([(CONTENT_TYPE, "application/json".to_owned()), (timing, took)], body).into_response()
            }
            Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
        }
    }
}

impl Service {
    /// Serves each new file at `path`, for ever.
    fn watch(&self, path: &Path, mut seen: Identity) {
        loop {
            std::thread::sleep(WATCH);
            // Between two files of that name there may be none.
            let Ok(now) = identity(path) else { continue };
            if now == seen {
                continue;
            }
            seen = now;
            let reloaded = self.live.reload(path);
            let mut health = self.health.lock().unwrap_or_else(PoisonError::into_inner);
            match reloaded {
                Ok(generation) => health.generation = generation,
                Err(error) => {
                    health.refused += 1;
                    health.reason = Some(error.to_string());
                }
            }
        }
    }
}

/// What tells one file from another of the same name: inode, size, time of change.
type Identity = (u64, u64, i64, i64);

fn identity(path: &Path) -> io::Result<Identity> {
    let file = std::fs::metadata(path)?;
    Ok((file.ino(), file.len(), file.mtime(), file.mtime_nsec()))
}
