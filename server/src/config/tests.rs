//! Facts about bad configuration files: each is refused with its place and what is allowed.

use std::path::Path;

use super::*;

fn load(text: &str) -> Result<Config, ConfigError> {
    let environment = |name: &str| (name == "PGPASS").then(|| "s3\"cret".to_string());
    Config::from_text(Path::new("cw.toml"), text, &environment)
}

const PROVIDERS_OF_ONE_NAME: &str = "[[ops.provider]]\nname = \"a\"\nkind = \"local\"\n\
    dir = \"/1\"\n[[ops.provider]]\nname = \"a\"\nkind = \"local\"\ndir = \"/2\"\n";
const PROVIDERS_OF_ONE_FOLDER: &str = "[[ops.provider]]\nname = \"a\"\nkind = \"local\"\n\
    dir = \"/1\"\n[[ops.provider]]\nname = \"b\"\nkind = \"local\"\ndir = \"/1\"\n";
const STORE: &str = "[store]\nurl = \"sqlite:/tmp/x.db\"\n";

#[test]
fn only_the_store_must_be_said() {
    let config = load(STORE).unwrap();
    assert_eq!(config, Config::of_store("sqlite:/tmp/x.db", None));
    assert_eq!(config.http.listen, "127.0.0.1:9850");
}

/// A bad file, and what its refusal says; [store] is added where it is missing.
const BAD: &[(&str, &[&str])] = &[
    ("", &["cw.toml:1", "store"]),
    ("[store]\nurl = \"sqlite:/x\"\nkey_fil = \"k\"\n", &["cw.toml:3", "key_fil", "key_file"]),
    ("[store]\nurl = 3\n", &["cw.toml:2", "url", "string"]),
    ("[store\n", &["cw.toml:1"]),
    ("[store]\nurl = \"mysql://x\"\n", &["store.url", "sqlite:", "postgres://"]),
    ("[store]\nurl = \"sqlite:/x\"\nkey_file = \"a\"\nkey_env = \"B\"\n", &["only one of"]),
    ("[store]\nurl = \"postgres://u:${NOPE}@h/d\"\n", &["cw.toml:2", "url", "NOPE", "not set"]),
    ("[store]\nurl = \"postgres://u:${NO\"\n", &["cw.toml:2", "${NAME}"]),
    ("[htp]\n[store]\nurl = \"sqlite:/x\"\n", &["cw.toml:1", "htp", "http"]),
    ("[http]\nlisten = \"localhost\"\n", &["http.listen", "127.0.0.1:9850"]),
    ("[http]\nmetrics_allow = [\"10.0.0/8\"]\n", &["10.0.0/8", "10.1.0.0/16"]),
    ("[http]\npublic_url = \"ftp://x\"\n", &["http.public_url", "http(s)://"]),
    ("[http.tls]\ncert_file = \"/nope/c\"\nkey_file = \"/nope/k\"\n", &["cert_file", "/nope/c"]),
    ("[log]\nlevel = \"loud\"\n", &["log.level", "\"loud\" is no level", "debug"]),
    ("[log]\nlevel = \"loud=very\"\n", &["log.level", "debug"]),
    ("[log]\nformat = \"xml\"\n", &["xml", "json", "text"]),
    ("[link]\ndeadline_ms = 5\n", &["link.deadline_ms = 5", "100 to 30000"]),
    ("[link]\ndeadline_ms = \"3s\"\n", &["deadline_ms", "u64"]),
    ("[exporter]\ninterval_s = 0\n", &["exporter.interval_s = 0", "1 to 300"]),
    ("[exporter]\ninterval_s = 2\n", &["link.deadline_ms = 3000", "exporter.interval_s"]),
    ("[exporter]\nprofile = \"fat\"\n", &["fat", "full", "lean"]),
    ("[scorer]\nwindow_s = 1\n", &["scorer.window_s = 1", "10 to 3600"]),
    ("[scorer]\nrise_s = 1\n", &["scorer.rise_s = 1", "5 to 3600"]),
    ("[alerter]\nresend_s = 1\n", &["alerter.resend_s = 1", "5 to 3600"]),
    (
        "[[alerter.alertmanager]]\nurl = \"am:9093\"\n",
        &["cw.toml:2: alerter.alertmanager[0].url", "http(s)://"],
    ),
    ("[history]\nurl = \"prom\"\n", &["cw.toml:2: history.url", "http(s)://"]),
    ("[history]\nurl = \"http://u:p@h/\"\n", &["cw.toml:2: history.url", "without a user"]),
    ("[history]\nurl = \"http://h/?q=1\"\n", &["cw.toml:2: history.url", "a query"]),
    ("[portal]\nlanguage = \"fr\"\n", &["cw.toml:2: portal.language", "en", "zh-CN"]),
    ("[portal.support]\nurl = \"help\"\n", &["cw.toml:2: portal.support.url", "http(s)://"]),
    ("[portal.support]\nmail = \"help\"\n", &["cw.toml:2: portal.support.mail", "user@host"]),
    ("[http]\npublic_url = \"http://u:p@h/\"\n", &["cw.toml:2: http.public_url", "without a user"]),
    ("[http]\ntrusted_proxies = [\"proxy\"]\n", &["cw.toml:2", "proxy"]),
    ("[ops]\nlease_s = 1\n", &["cw.toml:2: ops.lease_s = 1", "6 to 120"]),
    ("[ops]\nkill_file = \"stop\"\n", &["cw.toml:2: ops.kill_file", "whole path"]),
    (PROVIDERS_OF_ONE_NAME, &["cw.toml:6: ops.provider[1].name = \"a\"", "has that name"]),
    (PROVIDERS_OF_ONE_FOLDER, &["cw.toml:8: ops.provider[1].dir", "the folder of a"]),
    (
        "[[ops.provider]]\nname = \"a\"\nkind = \"local\"\ndir = \"nodes\"\n",
        &["cw.toml:4: ops.provider[0].dir = \"nodes\"", "whole path"],
    ),
    (
        "[[ops.provider]]\nname = \"A b\"\nkind = \"local\"\ndir = \"/n\"\n",
        &["cw.toml:2: ops.provider[0].name = \"A b\"", "a-z, 0-9"],
    ),
    (
        "[[ops.provider]]\nname = \"a\"\nkind = \"ssh\"\ndir = \"/n\"\n",
        &["cw.toml:3", "ssh", "local"],
    ),
    ("[store]\nurl = \"sqlite:/tmp\"\n", &["cw.toml:2: store.url", "/tmp is a folder"]),
    (
        "[store]\nurl = \"sqlite:/x\"\nkey_command = [\"vault\"]\n",
        &["cw.toml:3: store.key_command", "whole path"],
    ),
    ("[log]\nlevel = \"info\"\nlevel = \"info\"\n", &["cw.toml:3", "duplicate"]),
    ("[alerter]\nexternal_labels = { \"1a\" = \"x\" }\n", &["cw.toml:2: alerter.external_labels"]),
];

#[test]
fn what_is_wrong_is_named_with_its_place_and_what_is_allowed() {
    for (text, wanted) in BAD {
        let whole = match text.contains("[store") || text.is_empty() {
            true => text.to_string(),
            false => format!("{text}{STORE}"),
        };
        let said = load(&whole).expect_err(text).to_string();
        for word in *wanted {
            assert!(said.contains(word), "{text:?} said {said:?}, without {word:?}");
        }
        assert!(said.contains("cw.toml"), "{said}");
    }
}

#[test]
fn a_variable_is_text_and_never_syntax() {
    let config = load("[store]\nurl = \"postgres://u:${PGPASS}@h/$${d}\"\n").unwrap();
    assert_eq!(config.store.url, "postgres://u:s3\"cret@h/${d}");
}

#[test]
fn a_key_file_that_holds_no_key_is_refused_by_check_and_does_not_stop_a_start() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    let (file, key) = (at("cw.toml"), at("key"));
    let url = at("cw.db");
    let text =
        format!("[store]\nurl = \"sqlite:{}\"\nkey_file = \"{}\"\n", url.display(), key.display());
    std::fs::write(&file, text).unwrap();
    let notes = check(&file).unwrap();
    assert!(notes.iter().any(|n| n.contains("does not exist")), "{notes:?}");
    for bad in ["", "secret", &"g".repeat(64), &"0".repeat(62)] {
        std::fs::write(&key, bad).unwrap();
        let said = check(&file).unwrap_err().to_string();
        assert!(said.contains("cw.toml:3: store.key_file") && said.contains("64 hex"), "{said}");
        assert!(bad.is_empty() || !said.contains(bad), "a key is not quoted: {said}");
        assert!(Config::load(&file).is_ok(), "watching goes on without passwords");
    }
    std::fs::write(&key, format!("{}\n", "0f".repeat(32))).unwrap();
    assert!(check(&file).is_ok());
}

#[test]
fn a_portal_nobody_could_sign_in_to_is_told_before_it_is_tried() {
    let told = |public: &str| {
        let config = load(&format!("[http]\npublic_url = \"{public}\"\n{STORE}")).unwrap();
        config.notes().iter().any(|n| n.contains("session cookie"))
    };
    for fine in [
        "http://127.0.0.1:9850",
        "http://localhost:9850",
        "http://[::1]:9850",
        "https://cw.example",
    ] {
        assert!(!told(fine), "{fine}");
    }
    for bad in ["http://cw.example", "http://10.1.0.7:9850", "http://127.example"] {
        assert!(told(bad), "{bad}");
    }
}

#[test]
fn a_missing_file_is_named() {
    let said = Config::load(Path::new("/nope/cw.toml")).unwrap_err().to_string();
    assert!(said.contains("/nope/cw.toml"), "{said}");
}

#[test]
fn the_example_says_what_the_defaults_are() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/config.example.toml");
    let config = Config::load(&path).unwrap();
    assert_eq!((config.http, config.log), (Http::default(), Log::default()));
    assert_eq!(config.link, link::Config::default());
    assert_eq!(config.exporter, exporter::Config::default());
    assert_eq!(config.scorer, scorer::Config::default());
}
