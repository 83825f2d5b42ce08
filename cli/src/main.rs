//! The `cachewarden` program: the server, and the client of its API.
//!
//! Invariant: every way to end has its exit code. Refuses to know what the API's values mean beyond
//! how they are printed.

mod acl_args;
mod adopt;
mod apply;
mod args;
mod client;
mod console;
mod explain;
mod explain_args;
mod fail;
mod item;
mod item_args;
mod machine;
mod op;
mod outlook;
mod parameter;
mod policy;
mod policy_args;
mod read;
mod respond;
mod respond_args;
mod score_policy;
mod score_policy_args;
mod secret;
mod settings;
mod sign_in;
mod steer;
mod summary;
mod table;

use std::process::ExitCode;

use args::{Cli, Command};
use clap::Parser;
use client::Client;
use fail::Fail;
use settings::Settings;

/// Fragmentation of the system's allocator grows with the fleet; this one's does not.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let cli = Cli::parse();
    // The one place where the TLS provider of the process is chosen; an earlier choice stays.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(e) => {
            eprintln!("cannot start: {e}");
            return ExitCode::from(1);
        }
    };
    match runtime.block_on(run(cli)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            e.print();
            ExitCode::from(e.code())
        }
    }
}

async fn run(cli: Cli) -> Result<(), Fail> {
    match cli.command {
        Command::Serve { config } => machine::serve(&config).await,
        Command::Check { file } => machine::check(&file),
        Command::Migrate { config } => machine::migrate(&config).await,
        Command::Demo { check, engines } => machine::demo(check, engines).await,
        Command::Version { json } => machine::version(json),
        Command::Setup { new_key: Some(file), .. } => machine::new_key(&file),
        command => remote(command, &cli.server).await,
    }
}

/// Commands against a server.
async fn remote(command: Command, args: &args::ServerArgs) -> Result<(), Fail> {
    leave_with_the_reader();
    let file = settings::path();
    let kept = file.as_deref().map(settings::load).transpose()?.unwrap_or_default();
    let mut client = Client::new(Settings::resolve(args, kept))?;
    let output = args.output;
    match command {
        Command::Setup { how, .. } => sign_in::setup(&mut client, &how).await,
        Command::Login(how) => sign_in::login(&mut client, &how).await,
        Command::Logout => sign_in::logout(&client).await,
        Command::Get(get) => read::get(&client, &get, output).await,
        Command::Describe { noun, id } => read::describe(&client, noun, &id, output).await,
        Command::Explain(args::Explain::Score(wish)) => {
            explain::score(&client, &wish, output).await
        }
        Command::Explain(args::Explain::Topology { id }) => {
            explain::topology(&client, &id, output).await
        }
        Command::Explain(args::Explain::Capacity { id }) => {
            outlook::capacity(&client, &id, output).await
        }
        Command::Explain(args::Explain::Slo { id }) => outlook::slo(&client, &id, output).await,
        Command::Whatif(args::Whatif::ZoneLoss { zone }) => {
            outlook::zone_loss(&client, &zone, output).await
        }
        Command::Explain(args::Explain::ZoneRisk { id }) => {
            explain::zone_risk(&client, &id, output).await
        }
        Command::Apply(apply) => apply::apply(&client, &apply, output).await,
        Command::Adopt(wish) => adopt::adopt(&client, &wish, output).await,
        Command::Acl(wish) => secret::acl(&client, &wish, output).await,
        Command::Secret(command) => secret::secret(&client, command).await,
        Command::Op(op) => op::run(&client, op, output).await,
        Command::Runbook(command) => steer::runbook(&client, command, output).await,
        Command::Ack { id, note } => respond::ack(&client, &id, &note, output).await,
        Command::Silence(command) => respond::silence(&client, command, output).await,
        Command::Maintenance(command) => respond::maintenance(&client, command, output).await,
        Command::Calendar(command) => respond::calendar(&client, command, output).await,
        Command::Item(command) => item::item(&client, command, output).await,
        Command::Policy(command) => policy::policy(&client, command, output).await,
        Command::ScorePolicy(command) => score_policy::score_policy(&client, command, output).await,
        Command::Audit(command) => steer::audit(&client, command, output).await,
        Command::Token(command) => steer::token(&client, command, output).await,
        Command::Parameters { service, drift } => {
            parameter::list(&client, &service, drift, output).await
        }
        Command::Console { id, acl: true, password_file, .. } => {
            console::acl(&client, &id, password_file.as_deref()).await
        }
        Command::Console { id, command, .. } => {
            console::console(&client, &id, &command, output).await
        }
        Command::Turbo { id, minutes, end } => {
            let minutes = (!end).then_some(minutes);
            steer::turbo(&client, &id, minutes, output).await
        }
        Command::Serve { .. }
        | Command::Check { .. }
        | Command::Migrate { .. }
        | Command::Demo { .. }
        | Command::Version { .. } => unreachable!("run() took the commands of this machine"),
    }
}

/// Ends quietly when nobody reads our output any more (`cachewarden get alerts | head`), where
/// `println!` would panic.
fn leave_with_the_reader() {
    let usual = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        let gone = |text: &String| text.contains("stdout") && text.contains("Broken pipe");
        if info.payload().downcast_ref::<String>().is_some_and(gone) {
            std::process::exit(0);
        }
        usual(info);
    }));
}
