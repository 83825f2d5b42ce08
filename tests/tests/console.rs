//! The console on a real node: what its parser lets through, what it refuses, and that Redis refuses
//! the rest by itself.
#![cfg(feature = "fault")]

use std::time::Duration;

use link::{Link, Target};
use model::secret::Secret;
use ops::console::{self, Class};
use serde_json::{Value, json};
use tests::nodes::call;
use tests::stage::{SERVICE, Stage};

const CALL: Duration = Duration::from_secs(5);
const PASSWORD: &str = "console-password-of-cart";

async fn as_console(address: &str) -> Link {
    let target = Target {
        address: address.into(),
        user: console::USER.into(),
        password: Some(Secret::new(PASSWORD.into())),
        tls: None,
    };
    link::dial(&target, CALL).await.expect("the console's user logs in")
}

/// Creates the user on every node by the rules the program gives for it.
async fn provisioned(stage: &Stage) -> Vec<String> {
    let hash = model::audit::sha256_hex(PASSWORD.as_bytes());
    let id = stage.id(&stage.data[0]);
    let given =
        stage.warden.get(&format!("/instances/{id}/console/acl?password_sha256={hash}")).await;
    let rules: Vec<String> = serde_json::from_value(given["rules"].clone()).expect("rules");
    for address in &stage.data {
        let mut command = vec!["ACL", "SETUSER", console::USER];
        command.extend(rules.iter().map(String::as_str));
        call(address, &command).await.expect("the node takes the rules");
    }
    let path = format!("/services/{SERVICE}/secrets/console");
    stage.warden.put(&path, &json!({ "password": PASSWORD })).await;
    rules
}

async fn ask(stage: &Stage, address: &str, line: &str) -> (u16, Value) {
    let path = format!("/instances/{}/console", stage.id(address));
    let answer = stage.warden.post(&path, &json!({ "command": line })).await;
    (answer.status, answer.body)
}

/// A line that would do what that command does, with arguments it takes.
fn sample(name: &str) -> Vec<&str> {
    let mut words: Vec<&str> = name.split('|').collect();
    words.extend(["k", "1", "1", "1", "1"]);
    words
}

#[tokio::test(flavor = "multi_thread")]
async fn redis_refuses_the_consoles_user_what_the_parser_refuses_also_when_it_is_bypassed() {
    let stage = Stage::restartable("", "10m").await;
    provisioned(&stage).await;
    let address = stage.data[0].clone();
    let table = console::table_of(&mut as_console(&address).await).await.expect("COMMAND");
    let (mut let_through, mut refused) = (0, 0);
    for (name, spec) in table.iter().filter(|(_, s)| !s.container) {
        let class = console::class_of(&table, name);
        let reads = matches!(class, Class::Read | Class::Bounded);
        // Whoever is logged in may always say these, and they change nothing for others.
        if ["auth", "hello", "reset", "quit", "readonly"].contains(&name.as_str()) {
            continue;
        }
        // Past the parser, straight at the socket.
        let mut link = as_console(&address).await;
        let words: Vec<Vec<u8>> = sample(name).iter().map(|w| w.as_bytes().to_vec()).collect();
        let pipeline = link::Pipeline::of_bytes(&[words]);
        let replies = link.pipeline(&pipeline, CALL).await.unwrap_or_default();
        let said = replies.first().and_then(link::reply::error).unwrap_or_default();
        let denied = said.starts_with("NOPERM");
        match reads {
            true => let_through += 1,
            // A wrong number of arguments is told before the rights are looked at.
            false => {
                // DEBUG and MODULE are closed by the server's own configuration even before.
                let unknown = said.contains("wrong number of arguments")
                    || said.contains("command not allowed");
                assert!(denied || unknown, "{name} ({spec:?}) was answered {said:?}");
                refused += 1;
            }
        }
        assert!(!reads || !denied, "{name} is a read and was refused: {said}");
    }
    assert!(let_through > 80 && refused > 150, "{let_through} and {refused}");
    // Whole lines, that no arity saves.
    for line in ["FLUSHALL", "SET k v", "CONFIG SET hz 20", "KEYS *", "SHUTDOWN NOSAVE"] {
        let words: Vec<&str> = line.split(' ').collect();
        let said = as_console(&address).await.call(&words, CALL).await.expect_err("an error");
        assert!(said.to_string().contains("NOPERM"), "{line}: {said}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn lines_are_classed_recorded_cut_and_masked() {
    let stage = Stage::restartable("", "10m").await;
    let (master, replica) = (stage.data[0].clone(), stage.data[1].clone());
    let (status, body) = ask(&stage, &master, "PING").await;
    assert_eq!(status, 409, "without its user there is no console: {body}");
    provisioned(&stage).await;
    call(&master, &["SET", "a key", "value"]).await.expect("a master");
    call(&master, &["CONFIG", "SET", "masterauth", "hunter2hunter2"]).await.expect("taken");

    let (status, body) = ask(&stage, &master, "get \"a key\"").await;
    assert_eq!((status, &body["answer"]["value"]), (200, &json!("value")), "{body}");
    let (_, body) = ask(&stage, &master, "CONFIG GET masterauth").await;
    assert_eq!(body["answer"]["value"], json!(["masterauth", "***"]), "{body}");
    assert!(body["answer"]["masked"] == true && !body.to_string().contains("hunter2"));
    let (status, _) = ask(&stage, &replica, "INFO replication").await;
    assert_eq!(status, 200);

    call(&master, &["CONFIG", "RESETSTAT"]).await.expect("taken");
    for (line, word) in [
        ("FLUSHALL", "forbidden"),
        ("fLuShAlL", "forbidden"),
        ("\"\\x46LUSHALL\"", "forbidden"),
        ("SET k v", "write"),
        ("EVAL \"return redis.call('FLUSHALL')\" 0", "dangerous"),
        ("CONFIG SET dir /tmp", "dangerous"),
        ("REPLICAOF NO ONE", "operation"),
        ("XREAD BLOCK 0 STREAMS s $", "forbidden"),
        ("AUTH hunter3hunter3", "forbidden"),
        ("NOSUCH", "forbidden"),
    ] {
        let (status, body) = ask(&stage, &master, line).await;
        assert_eq!(status, 409, "{line}: {body}");
        assert!(body["detail"].as_str().unwrap_or_default().contains(word), "{line}: {body}");
    }
    let (status, _) = ask(&stage, &master, "GET \"open").await;
    assert_eq!(status, 422);
    for never in ["flushall", "set", "eval", "config|set", "replicaof", "xread"] {
        assert_eq!(tests::nodes::calls(&master, never).await, 0, "{never} reached the server");
    }
    // Refused lines are on record by their name alone.
    let audit = stage.warden.get("/audit?limit=100").await.to_string();
    assert!(audit.contains("console.run") && audit.contains("flushall"), "{audit}");
    assert!(!audit.contains("hunter3"), "a password typed into the console is on record");
}
