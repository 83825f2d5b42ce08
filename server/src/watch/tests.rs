//! Facts about what makes a watch task begin anew.

use super::*;

#[test]
fn another_password_is_another_target() {
    let target = |password: Option<&str>| link::Target {
        address: "10.0.0.1:6379".into(),
        user: String::new(),
        password: password.map(|p| model::secret::Secret::new(p.into())),
        tls: None,
    };
    assert!(same(&target(Some("a")), &target(Some("a"))));
    assert!(!same(&target(Some("a")), &target(Some("b"))));
    assert!(!same(&target(Some("a")), &target(None)));
}
