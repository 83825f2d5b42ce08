//! The command console: a person's line, asked of one instance as the console's own user.
//!
//! Invariants: a line is on record before anything is sent; only reads are sent, over a connection
//! whose user of Redis may do no more; without that user there is no console. What was refused is
//! recorded by its name alone, for it may hold what was not meant for here.

use std::sync::Arc;
use std::time::Duration;

use model::InstanceId;
use model::code::{Code, Problem};
use model::console::{ConsoleAnswer, ConsolePage};
use model::reading::Role;
use model::right::{Place, Right};
use model::service::{InstanceKind, Mode, Service};
use ops::console::{self, Class, Refused};
use portal::Page;
use serde::Deserialize;
use serde_json::json;
use store::{AuditEntry, SECRET_CONSOLE};

use super::Api;
use super::ask::{Answer, Ask, Fail, invalid};
use super::sight::Sight;

/// Connecting to a healthy server takes milliseconds.
const DIAL: Duration = Duration::from_secs(2);
/// Longest line kept on record, characters.
const RECORDED_CHARS_MAX: usize = 500;

/// What a request is about.
struct Desk {
    page: ConsolePage,
    service: Service,
    place: Place,
}

/// `GET /instances/{id}/console`.
pub async fn get(api: Arc<Api>, ask: Ask) -> Result<Answer, Fail> {
    Ok(Answer::ok(desk(&api, &ask).await?.page).page(Page::Console))
}

async fn desk(api: &Api, ask: &Ask) -> Result<Desk, Fail> {
    let (id, role, service) = {
        let sight = Sight::new(&api.app, ask);
        let instance = sight.instance(ask.id())?;
        if instance.kind != InstanceKind::Redis {
            return Err(invalid("", "a Sentinel has no data to read"));
        }
        let role = sight.row(&instance.id).and_then(|r| r.role());
        (instance.id.clone(), role, sight.service(instance.id.service().as_str())?.clone())
    };
    let place = Place::service(&service.id, &service.system);
    ask.require(Right::ConsoleRead, &place)?;
    let kept = api.app.store.secret_rev(&service.id, SECRET_CONSOLE).await?;
    let page = ConsolePage {
        instance: id,
        service: service.id.clone(),
        role: role.map(Role::as_redis).unwrap_or_default().into(),
        user: console::USER.into(),
        ready: kept.is_some(),
        command: String::new(),
        answer: None,
    };
    Ok(Desk { page, service, place })
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    command: String,
}

/// `POST /instances/{id}/console`.
pub async fn run(api: Arc<Api>, ask: Ask) -> Result<Answer, Fail> {
    let Line { command } = ask.json()?;
    let Desk { mut page, service, place } = desk(&api, &ask).await?;
    let words = console::parse(&command).map_err(|e| invalid("/command", e.to_string()))?;
    let mut link = connect(&api, &page.instance, &service).await?;
    let table = console::table_of(&mut link).await.map_err(refused)?;
    let admitted = console::admit(&table, &words);
    let record = match &admitted {
        Ok(v) => {
            let line: String = command.chars().take(RECORDED_CHARS_MAX).collect();
            json!({ "command": line, "class": v.class.as_str() })
        }
        Err(e) => json!({ "command": name_of(e), "refused": true, "words": words.len() }),
    };
    let mut entry = AuditEntry::new("console.run", &page.instance, place.clone());
    entry.after = record;
    api.app.store.audit_write(&ask.caller, entry, ask.now).await?;
    let verdict = admitted.map_err(refused)?;
    if verdict.class == Class::Bounded {
        ask.require(Right::DataRead, &place)?;
    }
    let answer = console::run(&mut link, &verdict, &words).await.map_err(refused)?;
    page.command = command;
    page.answer = Some(ConsoleAnswer {
        name: answer.name,
        class: answer.class.as_str().into(),
        text: console::text(&answer.shown.value),
        value: answer.shown.value,
        cut: answer.shown.cut,
        masked: answer.shown.masked,
        took_us: answer.took_us,
    });
    Ok(Answer::ok(page).page(Page::Console))
}

fn name_of(e: &Refused) -> &str {
    match e {
        Refused::Class { name, .. } | Refused::Size { name, .. } => name,
        _ => "",
    }
}

/// A connection as the console's user; there is no other.
async fn connect(api: &Api, id: &InstanceId, service: &Service) -> Result<link::Link, Fail> {
    let missing = || {
        Problem::new(
            Code::Refused,
            format!("no password of the user {} is stored for {}", console::USER, service.id),
            format!(
                "Create the user by `cachewarden console {id} --acl`, then `cachewarden secret set \
                 {} --kind console`.",
                service.id
            ),
        )
    };
    let password = api.app.store.secret_of(&service.id, SECRET_CONSOLE).await?;
    let target = (api.app.engine.world().target)(id);
    let (Some(password), Some(target)) = (password, target) else { return Err(missing().into()) };
    let target = link::Target { user: console::USER.into(), password: Some(password), ..target };
    let said = |e: link::Error| refused(Refused::Node(format!("{id}: {e}")));
    let mut link = link::dial(&target, DIAL).await.map_err(said)?;
    if service.mode == Mode::Cluster {
        link.call(&["READONLY"], DIAL).await.map_err(said)?;
    }
    Ok(link)
}

fn refused(e: Refused) -> Fail {
    let next = match &e {
        Refused::Class { class: Class::Operation, .. } => {
            "Plan it: cachewarden op plan KIND SERVICE."
        }
        Refused::Size { .. } => "Read it in parts.",
        Refused::Node(_) => "Look whether the instance is up and its user is there.",
        _ => "The console only reads.",
    };
    Problem::new(Code::Refused, e.to_string(), next).into()
}

/// `GET /instances/{id}/console/acl`.
pub async fn acl(api: Arc<Api>, ask: Ask) -> Result<Answer, Fail> {
    let Desk { page, .. } = desk(&api, &ask).await?;
    let hash = match ask.query("password_sha256") {
        "" => "<SHA-256 of its password>".to_string(),
        hash if hash.len() == 64 && hash.bytes().all(|b| b.is_ascii_hexdigit()) => {
            hash.to_ascii_lowercase()
        }
        _ => return Err(invalid("/password_sha256", "expected 64 hex digits")),
    };
    let said = |e: link::Error| refused(Refused::Node(format!("{}: {e}", page.instance)));
    let target = (api.app.engine.world().target)(&page.instance);
    let target = target.ok_or_else(|| invalid("", "its address or secret is not known"))?;
    let mut link = link::dial(&target, DIAL).await.map_err(said)?;
    let table = console::table_of(&mut link).await.map_err(refused)?;
    let version = console::version_of(&mut link).await.map_err(refused)?;
    let rules = console::rules(&table, version, &hash);
    let setuser = format!("ACL SETUSER {} {}", console::USER, rules.join(" "));
    Ok(Answer::ok(json!({ "user": console::USER, "rules": rules, "setuser": setuser })))
}
