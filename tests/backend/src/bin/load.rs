//! Puts the backend under load while its model is replaced every second, and checks every answer.
//!
//!     load [SECONDS [CONNECTIONS]]
//!
//! starts `backend`, which is built beside it, on a copy of the model in `models/`, and asks for the tags of the test films over that
//! many keep-alive connections (8), in four phases of that many seconds (10):
//!
//! - closed loop: each connection asks again as soon as it is answered; as it is, and with the model's file replaced each second;
//! - open loop: requests are due at fixed times, a quarter as many a second as the closed loop reached, and latency counts from when a
//!   request was due, so that waiting behind a stall is part of it; the same two.
//!
//! The file is replaced by renaming: in turns by a model with other weights and thresholds, the first one, and a broken file. The exit
//! status is 0 if every request was answered, each answer is the library's own for the generation it names, no connection saw an older
//! generation after a newer one, all good files were served and all broken ones refused. Nothing depends on how long anything takes.

use std::error::Error;
use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use flate2::read::GzDecoder;
use tagomatic::convert::{Conversion, convert};
use tagomatic::selection::Selection;
use tagomatic::weights::WeightType;
use tagomatic::{Model, Tagger};
use tagomatic_backend::{Answer, Given, Health, Question};

type Result<T, E = Box<dyn Error + Send + Sync>> = std::result::Result<T, E>;

/// How long anything that must happen may take.
const PATIENCE: Duration = Duration::from_secs(30);

fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1);
    let seconds: f64 = arguments.next().map_or(Ok(10.0), |text| text.parse())?;
    let connections: usize = arguments.next().map_or(Ok(8), |text| text.parse())?;
    let duration = Duration::from_secs_f64(seconds);

    let folder = tempfile::tempdir()?;
    let files = Files::new(folder.path())?;
    let questions = Questions::new(&files)?;
    let backend = Backend::start(&files.served)?;
    let test = Test { address: backend.address, files, questions, published: AtomicU64::new(1), connections };

    println!("{connections} connections, {seconds} s a phase, {} different requests\n", test.questions.requests.len());
    println!("| load | model replaced | requests/s | p50 µs | p99 µs | p99.9 µs | tagging p50 µs | p99 µs | p99.9 µs |");
    println!("| --- | --- | --- | --- | --- | --- | --- | --- | --- |");
    let mut rate = None;
    for load in ["closed", "open"] {
        let mut reached = 0.0;
        for replaced in [false, true] {
            let phase = test.phase(duration, rate, replaced)?;
            reached = phase.answered() as f64 / seconds;
            let [p50, p99, p999] = phase.percentiles(|sample| sample.latency);
            let [tag50, tag99, tag999] = phase.percentiles(|sample| sample.tagging);
            let replaced = phase
                .replacements
                .map_or("no".to_owned(), |Replacements { good, broken }| format!("{good} times, {broken} broken ones refused"));
            println!(
                "| {load} | {replaced} | {reached:.0} | {p50:.0} | {p99:.0} | {p999:.0} | {tag50:.1} | {tag99:.1} | {tag999:.1} |"
            );
        }
        rate = Some(reached / 4.0);
    }
    println!("\nevery request was answered, and every answer was that of the generation it names");
    Ok(())
}

/// The files that are served in turns, and the name under which.
struct Files {
    served: PathBuf,
    /// Odd generations are the first, even ones the second.
    good: [Vec<u8>; 2],
    broken: [Vec<u8>; 2],
}

impl Files {
    fn new(folder: &Path) -> Result<Self> {
        let first = std::fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../models/movies.tagm"))?;
        // Rounded to 8 bits, every score is another one, and with it some decisions.
        let how = Conversion { weights: Some(WeightType::I8), ..Conversion::default() };
        let second = convert(&Model::from_bytes(&first)?, how, [[0; 0]; 0])?.model.bytes().to_vec();
        let cut = first[..first.len() / 2].to_vec();
        let mut flipped = first.clone();
        flipped[first.len() / 2] ^= 1;
        let served = folder.join("served.tagm");
        std::fs::write(&served, &first)?;
        Ok(Files { served, good: [first, second], broken: [cut, flipped] })
    }

    fn good_of(generation: u64) -> usize {
        usize::from(generation.is_multiple_of(2))
    }

    /// Puts `bytes` in the place of the served file, as a whole.
    fn publish(&self, bytes: &[u8]) -> Result<()> {
        let new = self.served.with_extension("new");
        std::fs::write(&new, bytes)?;
        Ok(std::fs::rename(new, &self.served)?)
    }
}

/// Requests, and the library's own answers from either good file.
struct Questions {
    /// As they go over the wire.
    requests: Vec<Vec<u8>>,
    answers: [Vec<Answer<'static>>; 2],
}

impl Questions {
    fn new(files: &Files) -> Result<Self> {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../models/movies-test.jsonl.gz");
        let films = BufReader::new(GzDecoder::new(File::open(path)?));
        let taggers = [Tagger::new(Model::from_bytes(&files.good[0])?), Tagger::new(Model::from_bytes(&files.good[1])?)];
        let mut questions = Questions { requests: Vec::new(), answers: [Vec::new(), Vec::new()] };
        for line in films.lines() {
            let film: Question = serde_json::from_str(&line?)?;
            for (tagger, answers) in taggers.iter().zip(&mut questions.answers) {
                answers.push(expected(tagger, &film.keywords)?);
            }
            let body = serde_json::to_string(&film)?;
            let length = body.len();
            let head =
                format!("POST /tag HTTP/1.1\r\nhost: t\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n");
            questions.requests.push((head + &body).into_bytes());
        }
        let [first, second] = &questions.answers;
        let told_apart = first.iter().zip(second).filter(|(first, second)| first != second).count();
        if told_apart * 10 < first.len() * 9 {
            return Err(format!("expected models that answer nearly all requests differently, found {told_apart}").into());
        }
        Ok(questions)
    }
}

/// The library's answer, with no generation yet.
fn expected(tagger: &Tagger, keywords: &[String]) -> Result<Answer<'static>> {
    let (tags, mut selected) = (tagger.tags(), Vec::new());
    let mut scores = vec![0.0; tags.len()];
    let counts = tagger.score_keywords(keywords.iter().map(String::as_str), &mut tagger.scratch(), &mut scores)?;
    Selection::default().select(tags, &scores, counts.known, &mut selected)?;
    let given = |tag: usize| Given { tag: tags[tag].name.clone().into(), score: scores[tag] };
    let tags = selected.into_iter().map(given).collect();
    Ok(Answer { generation: 0, known: counts.known, unknown: counts.unknown, tags })
}

/// The backend's process; it ends with this.
struct Backend {
    process: Child,
    address: SocketAddr,
}

impl Backend {
    fn start(model: &Path) -> Result<Self> {
        let program = std::env::current_exe()?.with_file_name("backend");
        let mut process = Command::new(&program)
            .arg(model)
            .arg("127.0.0.1:0")
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|error| format!("expected a program {}, found {error} (cargo build --release)", program.display()))?;
        let mut line = String::new();
        BufReader::new(process.stdout.take().ok_or("no output")?).read_line(&mut line)?;
        Ok(Backend { process, address: line.trim().parse()? })
    }
}

impl Drop for Backend {
    fn drop(&mut self) {
        // It may have ended by itself; then there is nothing to end.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// A keep-alive connection.
struct Connection {
    stream: TcpStream,
    buffer: Vec<u8>,
}

impl Connection {
    fn open(address: SocketAddr) -> Result<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        Ok(Connection { stream, buffer: Vec::new() })
    }

    /// The body of the answer to `request`, and the value of its header `server-timing`.
    fn ask(&mut self, request: &[u8]) -> Result<(&[u8], &str)> {
        self.stream.write_all(request)?;
        self.buffer.clear();
        let (body, length) = loop {
            self.read_on()?;
            let mut headers = [httparse::EMPTY_HEADER; 16];
            let mut response = httparse::Response::new(&mut headers);
            if let httparse::Status::Complete(body) = response.parse(&self.buffer)? {
                if response.code != Some(200) {
                    let said = String::from_utf8_lossy(&self.buffer);
                    return Err(format!("expected status 200, found {said}").into());
                }
                break (body, std::str::from_utf8(header(&headers, "content-length")?)?.parse::<usize>()?);
            }
        };
        while self.buffer.len() < body + length {
            self.read_on()?;
        }
        let mut headers = [httparse::EMPTY_HEADER; 16];
        httparse::Response::new(&mut headers).parse(&self.buffer)?;
        let timing = header(&headers, "server-timing").unwrap_or_default();
        Ok((&self.buffer[body..body + length], std::str::from_utf8(timing)?))
    }

    fn read_on(&mut self) -> Result<()> {
        let mut bytes = [0; 4096];
        match self.stream.read(&mut bytes)? {
            0 => Err("the connection was closed before an answer".into()),
            count => {
                self.buffer.extend_from_slice(&bytes[..count]);
                Ok(())
            }
        }
    }
}

fn header<'h>(headers: &[httparse::Header<'h>], name: &str) -> Result<&'h [u8]> {
    let found = headers.iter().find(|header| header.name.eq_ignore_ascii_case(name));
    Ok(found.ok_or_else(|| format!("expected a header {name}, found none"))?.value)
}

struct Test {
    address: SocketAddr,
    files: Files,
    questions: Questions,
    /// The newest generation that may be seen: raised before its file gets its name.
    published: AtomicU64,
    connections: usize,
}

/// What came of one phase.
struct Phase {
    samples: Vec<Sample>,
    replacements: Option<Replacements>,
}

/// How often a file was replaced by a good one, and by a broken one.
#[derive(Clone, Copy, Default)]
struct Replacements {
    good: u64,
    broken: u64,
}

/// Times of one request.
struct Sample {
    latency: Duration,
    /// As the backend tells it.
    tagging: Duration,
}

impl Phase {
    fn answered(&self) -> usize {
        self.samples.len()
    }

    /// p50, p99 and p99.9 in microseconds.
    fn percentiles(&self, of: impl Fn(&Sample) -> Duration) -> [f64; 3] {
        let mut times: Vec<Duration> = self.samples.iter().map(of).collect();
        times.sort_unstable();
        [0.5, 0.99, 0.999].map(|part| {
            let rank = (part * times.len() as f64).ceil() as usize;
            times.get(rank.saturating_sub(1)).map_or(f64::NAN, |time| time.as_secs_f64() * 1e6)
        })
    }
}

impl Test {
    /// Load for `duration`: at `rate` requests a second, or as many as are answered; with the file replaced each second, or not.
    fn phase(&self, duration: Duration, rate: Option<f64>, replaced: bool) -> Result<Phase> {
        let ended = AtomicBool::new(false);
        let begun = Instant::now();
        std::thread::scope(|scope| {
            let replacer = replaced.then(|| scope.spawn(|| self.replace(&ended)));
            let clients: Vec<_> =
                (0..self.connections).map(|client| scope.spawn(move || self.client(client, begun, duration, rate))).collect();
            let samples = clients.into_iter().map(join).collect::<Result<Vec<_>>>();
            ended.store(true, Ordering::Relaxed);
            let replacements = replacer.map(join).transpose()?;
            Ok(Phase { samples: samples?.into_iter().flatten().collect(), replacements })
        })
    }

    /// Replaces the served file each second, until `ended` or for the three files of a turn, whichever comes later.
    fn replace(&self, ended: &AtomicBool) -> Result<Replacements> {
        let mut connection = Connection::open(self.address)?;
        let mut done = Replacements::default();
        let begun = Instant::now();
        for turn in 1.. {
            let before = self.health(&mut connection)?;
            let mut wanted = before.clone();
            if turn % 3 == 0 {
                self.files.publish(&self.files.broken[usize::from(turn % 2 == 0)])?;
                wanted.refused += 1;
                done.broken += 1;
            } else {
                wanted.generation = self.published.fetch_add(1, Ordering::SeqCst) + 1;
                self.files.publish(&self.files.good[Files::good_of(wanted.generation)])?;
                done.good += 1;
            }
            let asked = Instant::now();
            loop {
                let now = self.health(&mut connection)?;
                if (now.generation, now.refused) == (wanted.generation, wanted.refused) {
                    break;
                }
                if (now.generation, now.refused) != (before.generation, before.refused) || asked.elapsed() > PATIENCE {
                    return Err(format!("expected {wanted:?} after {before:?}, found {now:?}").into());
                }
                std::thread::sleep(Duration::from_millis(5));
            }
            if ended.load(Ordering::Relaxed) && turn >= 3 {
                break;
            }
            std::thread::sleep((begun + Duration::from_secs(turn)).saturating_duration_since(Instant::now()));
        }
        Ok(done)
    }

    fn health(&self, connection: &mut Connection) -> Result<Health> {
        let (body, _) = connection.ask(b"GET /health HTTP/1.1\r\nhost: t\r\n\r\n")?;
        Ok(serde_json::from_slice(body)?)
    }

    /// Asks over one connection, and checks each answer.
    fn client(&self, client: usize, begun: Instant, duration: Duration, rate: Option<f64>) -> Result<Vec<Sample>> {
        let mut connection = Connection::open(self.address)?;
        let (mut samples, mut newest) = (Vec::new(), 1);
        let count = self.questions.requests.len();
        for index in (client..).step_by(self.connections) {
            let due = rate.map_or(Duration::ZERO, |rate| Duration::from_secs_f64(index as f64 / rate));
            if due.max(begun.elapsed()) >= duration {
                break;
            }
            std::thread::sleep((begun + due).saturating_duration_since(Instant::now()));
            let from = if rate.is_some() { begun + due } else { Instant::now() };
            let question = index % count;
            let (body, timing) = connection.ask(&self.questions.requests[question])?;
            let latency = from.elapsed();

            let answer: Answer = serde_json::from_slice(body)?;
            let generation = answer.generation;
            if !(newest..=self.published.load(Ordering::SeqCst)).contains(&generation) {
                return Err(format!("expected generation {newest} or a newer one, found {answer:?}").into());
            }
            newest = generation;
            let expected = &self.questions.answers[Files::good_of(generation)][question];
            if (Answer { generation: 0, ..answer.clone() }) != *expected {
                return Err(format!("expected {expected:?}, found {answer:?}").into());
            }
            let milliseconds: f64 = timing.strip_prefix("tag;dur=").ok_or("expected the time of tagging")?.parse()?;
            samples.push(Sample { latency, tagging: Duration::from_secs_f64(milliseconds / 1e3) });
        }
        Ok(samples)
    }
}

/// What a thread returned; a panic is its thread's, and goes on here.
fn join<T>(thread: std::thread::ScopedJoinHandle<'_, Result<T>>) -> Result<T> {
    thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}
