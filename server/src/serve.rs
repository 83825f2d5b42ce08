//! The whole process, wired in one straight line and torn down by name in reverse.
//!
//! Invariant: nothing listens before everything it needs stands; at the end nothing is asked of a
//! part that is gone. A panic in a loop ends the process: what it left half done is not guessed.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use alerter::Alerter;
use anyhow::{Context as _, bail};
use arc_swap::ArcSwap;
use model::At;
use model::board::Board;
use model::caller::Caller;
use model::inventory::Inventory;
use ops::provider::Providers;
use ops::{Engine, World};
use store::{Migrate, Store};
use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::app::App;
use crate::auth::{Auth, setup};
use crate::config::Config;
use crate::http::tls::Certificate;
use crate::http::{self, listener};
use crate::logs::{self, LogLevel};
use crate::loops::Loops;
use crate::prometheus::Prometheus;
use crate::reach::Targets;
use crate::scoring;

/// Present step of an operation, at the end: its own time-out is shorter, this is the backstop.
const ENGINE_DRAIN: Duration = Duration::from_secs(60);
/// The alerter's last sending.
const ALERTER_DRAIN: Duration = Duration::from_secs(5);
/// One connect of a client of ours.
const CONNECT_TIME: Duration = Duration::from_secs(5);

/// Runs cachewarden until SIGTERM or SIGINT.
pub async fn serve(config: Config) -> anyhow::Result<()> {
    let level = logs::start(&config.log);
    for note in config.notes() {
        tracing::warn!("{note}");
    }
    // An earlier choice of the same process stays.
    let _ = rustls::crypto::ring::default_provider().install_default();
    link::limit_connects(config.link.connects_per_s_max);
    crate::descriptors::raise();
    let store = Store::open(&config.store, Migrate::AtStart).await.context("opening the store")?;
    let store = Arc::new(store);
    let app = assemble(config, store.clone()).await?;
    let tls = certificate(&app.config)?;
    let address = &app.config.http.listen;
    let listener =
        TcpListener::bind(address).await.with_context(|| format!("http.listen {address}"))?;
    let mut signals = Signals::new()?;
    // Printed before anybody can be answered: whoever sees us listen finds the token.
    announce(&app).await?;
    let mut loops = Loops::start(&app);
    let accepting = CancellationToken::new();
    let router = http::router(app.clone());
    let web = listener::serve(listener, router, app.clone(), tls.clone(), accepting.clone());
    let web = tokio::spawn(web);

    let ended = until_the_end(&app, &mut signals, &mut loops, &level, tls.as_deref()).await;

    tracing::info!("stopping");
    app.shutdown.cancel();
    accepting.cancel();
    teardown(&app, loops, web).await;
    app.store.close().await;
    tracing::info!("stopped");
    ended
}

/// Waits for a signal to end; answers an error when a loop ended by itself.
async fn until_the_end(
    app: &App,
    signals: &mut Signals,
    loops: &mut Loops,
    level: &LogLevel,
    tls: Option<&Certificate>,
) -> anyhow::Result<()> {
    loop {
        tokio::select! {
            _ = signals.term.recv() => return Ok(()),
            _ = signals.int.recv() => return Ok(()),
            _ = signals.hup.recv() => reload(app, level, tls),
            why = loops.broken() => bail!("{why}; the process ends, a supervisor starts it anew"),
        }
    }
}

async fn teardown(app: &App, mut loops: Loops, web: JoinHandle<()>) {
    // Those that decide first, so that nothing new begins; readings go on, for a step that is
    // still running may wait for the Board to show its effect.
    loops.stop_deciding().await;
    if tokio::time::timeout(ENGINE_DRAIN, app.engine.drain()).await.is_err() {
        tracing::warn!(
            "an operation did not come to the end of its step; it resumes by observation"
        );
    }
    loops.stop_observing().await;
    if tokio::time::timeout(ALERTER_DRAIN, app.alerter.shutdown(app.now())).await.is_err() {
        tracing::warn!("some alerts are not delivered yet; they are sent after the next start");
    }
    if let Err(e) = web.await {
        tracing::error!(error = %e, "the listener ended badly");
    }
}

/// Everything the loops and handlers need, restored and complete.
async fn assemble(config: Config, store: Arc<Store>) -> anyhow::Result<Arc<App>> {
    if let Err(e) = store.unseal(&config.store).await {
        tracing::error!(error = %e, "secrets stay sealed: watching goes on without passwords");
    }
    let now = clock();
    let caller = Caller::system("start", format!("start-{}", now.ms()));
    store.inventory_seed(&caller, now).await.context("making the default tenant")?;
    let board = Arc::new(Board::default());
    let inventory = Arc::new(ArcSwap::from_pointee(Inventory::default()));
    let targets: Arc<ArcSwap<Targets>> = Arc::default();
    let http = client()?;
    let public_url = config.http.public_url.trim_end_matches('/').to_string();
    let prometheus = config.history.as_ref().map(|h| Prometheus::new(http.clone(), &h.url));
    let alerter = Arc::new(Alerter::new(config.alerter.clone(), store.clone(), http, public_url));
    alerter.polled_every(i64::from(config.exporter.interval_s) * 1000);
    alerter.explains_by(scoring::explains(board.clone()));
    let world = world(&config, &board, &inventory, &targets)?;
    let worker = uuid::Uuid::now_v7().to_string();
    let engine = Arc::new(Engine::new(config.ops.clone(), store.clone(), world, worker));
    engine.check_unfinished().await.context("looking at unfinished operations")?;
    alerter.restore(now).await.context("restoring the alerts")?;
    let app = Arc::new(App {
        auth: Auth::new(&config.auth),
        config,
        store,
        board,
        inventory,
        targets,
        alerter,
        engine,
        portal: portal::Portal::new(),
        clock,
        started_at: now,
        loops: Default::default(),
        history: Default::default(),
        scores: Default::default(),
        prometheus,
        usage: Default::default(),
        slo: Default::default(),
        rules: Default::default(),
        recent: Default::default(),
        rates: Default::default(),
        removed: Default::default(),
        on_host: Default::default(),
        fleet: Default::default(),
        certificates: Default::default(),
        policy_generation: Default::default(),
        items: Default::default(),
        policies: Default::default(),
        drift: Default::default(),
        zones: Default::default(),
        vantages: Default::default(),
        reloading: tokio::sync::Mutex::default(),
        pages: Default::default(),
        metrics: Default::default(),
        watching: Default::default(),
        inventory_moved: Notify::new(),
        shutdown: CancellationToken::new(),
    });
    app.reload_inventory().await?;
    Ok(app)
}

fn world(
    config: &Config,
    board: &Arc<Board>,
    inventory: &Arc<ArcSwap<Inventory>>,
    targets: &Arc<ArcSwap<Targets>>,
) -> anyhow::Result<World> {
    let (inventory, targets) = (inventory.clone(), targets.clone());
    Ok(World {
        board: board.clone(),
        inventory: Box::new(move || inventory.load_full()),
        target: Box::new(move |id| targets.load().get(id)?.as_ref().ok().cloned()),
        providers: Providers::open(&config.ops.provider).context("ops.provider")?,
        clock,
    })
}

/// The client for Alertmanagers: no redirects, for a redirect would choose where our alerts go.
fn client() -> anyhow::Result<reqwest::Client> {
    reqwest::Client::builder()
        .user_agent(concat!("cachewarden/", env!("CARGO_PKG_VERSION")))
        .connect_timeout(CONNECT_TIME)
        .redirect(reqwest::redirect::Policy::none())
        .build()
        .context("making the HTTP client")
}

fn certificate(config: &Config) -> anyhow::Result<Option<Arc<Certificate>>> {
    let tls = config.http.tls.as_ref();
    Ok(tls.map(Certificate::load).transpose()?.map(Arc::new))
}

/// What a person at the console needs to know.
async fn announce(app: &App) -> anyhow::Result<()> {
    let setup = setup::ensure(&app.store, app.now()).await.context("making the setup token")?;
    println!("cachewarden {} listens on {}", crate::VERSION, app.config.http.listen);
    if let Some(token) = setup {
        println!("There is no account yet. Within one hour, sign in once at");
        println!("  {}/login", app.public_url());
        println!("with the setup token");
        println!("  {token}");
    }
    tracing::info!(
        listen = app.config.http.listen,
        store = app.store.engine_name(),
        instances = app.inventory.load().instances.len(),
        sealed = app.is_sealed(),
        "ready"
    );
    Ok(())
}

/// SIGHUP: takes the log level and the certificates; says of anything else that it needs a restart.
fn reload(app: &App, level: &LogLevel, tls: Option<&Certificate>) {
    let reloaded = (|| {
        let file = app.config.file.as_deref().context("started without a file")?;
        let fresh = Config::load(file)?;
        level.set(&fresh.log.level).map_err(anyhow::Error::msg)?;
        if let Some(tls) = tls {
            tls.reload()?;
        }
        for section in app.config.sections_that_differ(&fresh) {
            tracing::warn!(section, "changed in the file; needs a restart");
        }
        anyhow::Ok(())
    })();
    app.metrics.config_reload_ok.set(i64::from(reloaded.is_ok()));
    match reloaded {
        Ok(()) => tracing::info!("log level and certificates were read again"),
        Err(e) => tracing::error!(error = format!("{e:#}"), "the old configuration stays in force"),
    }
}

struct Signals {
    term: Signal,
    int: Signal,
    hup: Signal,
}

impl Signals {
    fn new() -> anyhow::Result<Signals> {
        let on = |kind| signal(kind).context("listening for signals");
        Ok(Signals {
            term: on(SignalKind::terminate())?,
            int: on(SignalKind::interrupt())?,
            hup: on(SignalKind::hangup())?,
        })
    }
}

pub(crate) fn clock() -> At {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    At::from_ms(now.as_millis() as i64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::poll;
    use store::Apply;

    #[tokio::test]
    async fn of_two_reloads_at_once_the_older_reading_is_never_the_one_that_stays() {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let dir = tempfile::tempdir().unwrap();
        let url = format!("sqlite:{}", dir.path().join("cw.db").display());
        let config = Config::of_store(&url, None);
        let store = Arc::new(Store::open(&config.store, Migrate::AtStart).await.unwrap());
        let app = assemble(config, store.clone()).await.unwrap();
        let turn = app.reloading.lock().await;
        let mut first = std::pin::pin!(app.reload_inventory());
        assert!(poll!(&mut first).is_pending());
        // While the first one waits for its turn, the tree moves on.
        let doc = crate::inventory_file::parse("version: 1\ntenants: [{id: pay}]\n").unwrap();
        let caller = Caller::system("test", "test");
        let how = Apply::default();
        store.apply(&caller, &doc, how, clock()).await.unwrap();
        drop(turn);
        first.await.unwrap();
        assert_eq!(app.inventory().generation, store.inventory_generation().await.unwrap());
        assert!(app.inventory().tenants.contains_key(&"pay".parse().unwrap()));
    }
}
