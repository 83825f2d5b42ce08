//! How a figure is printed, and the arithmetic of samples.

use serde_json::json;

/// A figure: `value` should not exceed `gate`, and `stretch` is what we would like.
pub struct Figure<'a> {
    pub id: &'a str,
    pub value: f64,
    pub unit: &'a str,
    pub gate: f64,
    pub stretch: f64,
    pub context: String,
}

impl Figure<'_> {
    /// One JSON object on a line of its own.
    pub fn print(&self) {
        let value = (self.value * 1000.0).round() / 1000.0;
        let line = json!({"id": self.id, "value": value, "unit": self.unit, "gate": self.gate,
            "stretch": self.stretch, "pass": self.value <= self.gate, "context": self.context});
        println!("{line}");
    }
}

/// Prints a ratio.
pub fn ratio(id: &str, value: f64, (gate, stretch): (f64, f64), context: String) {
    Figure { id, value, unit: "ratio", gate, stretch, context }.print();
}

/// The value below which `share` of the samples lie; 0 of none.
pub fn quantile(mut values: Vec<f64>, share: f64) -> f64 {
    values.sort_by(f64::total_cmp);
    let index = (values.len() as f64 * share).ceil() as usize;
    values.get(index.saturating_sub(1)).copied().unwrap_or(0.0)
}
