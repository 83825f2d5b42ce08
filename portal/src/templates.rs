//! The embedded templates by name.

macro_rules! embed {
    ($($name:literal)*) => {
        /// (name, source) of every template.
        pub(crate) const ALL: &[(&str, &str)] =
            &[$(($name, include_str!(concat!("../templates/", $name, ".hbs"))),)*];
    };
}

embed! {
    "layout"
    "pages/login" "pages/overview" "pages/services" "pages/service" "pages/health"
    "pages/alerts" "pages/alert" "pages/incidents" "pages/incident" "pages/operations"
    "pages/operation" "pages/docs" "pages/doc" "pages/plan" "pages/items" "pages/item" "pages/error"
    "pages/score_policies" "pages/score_policy" "pages/parameters" "pages/console"
    "pages/zone_loss" "pages/policies" "pages/policy" "pages/alert_quality" "parts/backtest"
    "parts/capacity" "parts/slo"
    "pages/alert_history" "pages/silences" "pages/maintenance" "pages/calendars"
    "parts/overview_live" "parts/alerts_table" "parts/operation_live" "parts/live" "parts/filter"
    "parts/pager" "parts/waterfall" "parts/service_head" "parts/operation_rows" "parts/plan_steps"
    "parts/alerts_nav"
}
