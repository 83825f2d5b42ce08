//! Names the embedded assets after their content, so that browsers may keep them for ever, and
//! gathers the manual.
//!
//! Invariant: another byte in an asset is another name. Runs no tool and downloads nothing.

use std::path::{Path, PathBuf};
use std::{env, fs};

/// FNV-1a, 64 bit: a name for caches, not a security boundary.
fn fnv1a(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, b| {
        (hash ^ u64::from(*b)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

/// The pages of the manual by name, in order; none while there is no folder.
fn manual(root: &Path) -> String {
    let dir = root.join("../docs/runbooks");
    println!("cargo:rerun-if-changed={}", dir.display());
    let files = fs::read_dir(&dir).into_iter().flatten().flatten().map(|entry| entry.path());
    let mut pages: Vec<PathBuf> =
        files.filter(|p| p.extension().is_some_and(|e| e == "md")).collect();
    pages.sort();
    let mut text = String::from(
        "/// Every page about an alert, by name.\npub const RUNBOOKS: &[Manual] = &[\n",
    );
    for page in pages {
        println!("cargo:rerun-if-changed={}", page.display());
        let name = page.file_stem().unwrap_or_default().to_string_lossy();
        text.push_str(&format!("Manual {{ name: {name:?}, text: include_str!({page:?}) }},\n"));
    }
    text + "];\n"
}

fn main() {
    let root = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").expect("cargo sets it"));
    let css = root.join("web/style/app.css");
    let icon = root.join("web/favicon.svg");
    println!("cargo:rerun-if-changed={}", css.display());
    println!("cargo:rerun-if-changed={}", icon.display());
    println!("cargo:rerun-if-changed=build.rs");
    let name = |file: &Path| {
        let bytes = fs::read(file).unwrap_or_else(|e| panic!("{}: {e}", file.display()));
        format!("/assets/app.{:016x}.css", fnv1a(&bytes))
    };
    let text = format!(
        "/// Path of the style sheet, named after its content.\n\
         pub const CSS_PATH: &str = {:?};\n\
         const CSS: &[u8] = include_bytes!({:?});\n\
         const ICON: &[u8] = include_bytes!({:?});\n",
        name(&css),
        css,
        icon
    );
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets it"));
    for (name, text) in [("assets.rs", text), ("manual.rs", manual(&root))] {
        fs::write(out.join(name), text).unwrap_or_else(|e| panic!("{name}: {e}"));
    }
}
