//! One client of the API.
//!
//! Invariant: a token goes only to the server of `Settings` and follows no redirect; an answer that
//! is not 2xx becomes the server's problem.

use std::time::Duration;

use model::code::{Code, Problem};
use reqwest::header::HeaderMap;
use reqwest::{Method, RequestBuilder, Response};
use serde_json::Value;

use crate::fail::Fail;
use crate::settings::Settings;

/// The server answers within 30 s or says that it cannot.
const ANSWER_MAX: Duration = Duration::from_secs(35);
/// Rows asked for at once.
const PAGE: usize = 500;

/// A client.
pub struct Client {
    http: reqwest::Client,
    /// Server and token.
    pub settings: Settings,
}

/// An answer.
pub struct Answer {
    /// Headers.
    pub headers: HeaderMap,
    /// Body; null when there is none.
    pub value: Value,
}

impl Client {
    /// For one run.
    pub fn new(settings: Settings) -> Result<Client, Fail> {
        let http = reqwest::Client::builder()
            .timeout(ANSWER_MAX)
            .user_agent(concat!("cachewarden/", env!("CARGO_PKG_VERSION")))
            .redirect(reqwest::redirect::Policy::none())
            .build()
            .map_err(|e| Fail::Other(e.into()))?;
        Ok(Client { http, settings })
    }

    /// A request without the token.
    pub fn bare(&self, method: Method, path: &str) -> RequestBuilder {
        self.http.request(method, format!("{}/api/v1{path}", self.settings.url))
    }

    /// A request as whoever is signed in.
    pub fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let request = self.bare(method, path);
        match &self.settings.token {
            Some(token) => request.bearer_auth(token),
            None => request,
        }
    }

    /// Sends it.
    pub async fn send(&self, request: RequestBuilder) -> Result<Answer, Fail> {
        let response = request.send().await.map_err(|e| self.unreachable(&e))?;
        let (status, headers) = (response.status(), response.headers().clone());
        if status.is_success() {
            let body = response.bytes().await.map_err(|e| self.unreachable(&e))?;
            let value = serde_json::from_slice(&body).unwrap_or_default();
            return Ok(Answer { headers, value });
        }
        Err(Fail::Problem(Box::new(problem(response).await)))
    }

    /// `GET` of one value.
    pub async fn get(&self, path: &str) -> Result<Value, Fail> {
        Ok(self.send(self.request(Method::GET, path)).await?.value)
    }

    /// The text of an answer that is no JSON.
    pub async fn text(&self, request: RequestBuilder) -> Result<(HeaderMap, String), Fail> {
        let response = request.send().await.map_err(|e| self.unreachable(&e))?;
        if !response.status().is_success() {
            return Err(Fail::Problem(Box::new(problem(response).await)));
        }
        let headers = response.headers().clone();
        Ok((headers, response.text().await.map_err(|e| self.unreachable(&e))?))
    }

    /// Every item of a list, or the first `limit`.
    pub async fn list(
        &self,
        path: &str,
        query: &[(&str, &str)],
        limit: Option<usize>,
    ) -> Result<Vec<Value>, Fail> {
        let mut items = Vec::new();
        let mut next: Option<String> = None;
        loop {
            let left = limit.unwrap_or(usize::MAX) - items.len();
            let page = left.min(PAGE).to_string();
            let mut request =
                self.request(Method::GET, path).query(query).query(&[("limit", &page)]);
            if let Some(cursor) = &next {
                request = request.query(&[("page", cursor)]);
            }
            let mut answer = self.send(request).await?.value;
            let Value::Array(found) = answer["items"].take() else { return Ok(items) };
            let empty = found.is_empty();
            items.extend(found);
            next = answer["next"].as_str().map(str::to_string);
            if next.is_none() || empty || limit.is_some_and(|l| items.len() >= l) {
                items.truncate(limit.unwrap_or(usize::MAX));
                return Ok(items);
            }
        }
    }

    fn unreachable(&self, e: &reqwest::Error) -> Fail {
        let why = match (e.is_timeout(), e.is_connect()) {
            (true, _) => "no answer in time".to_string(),
            (_, true) => "cannot connect".to_string(),
            _ => e.to_string(),
        };
        Fail::Unreachable(format!("{}: {why}", self.settings.url))
    }
}

async fn problem(response: Response) -> Problem {
    let status = response.status().as_u16();
    let body = response.bytes().await.unwrap_or_default();
    serde_json::from_slice(&body).unwrap_or_else(|_| {
        let mut p = Problem::new(
            Code::Fault,
            format!("the server answered {status} without saying why"),
            "Check that --url is a cachewarden server.",
        );
        p.status = status;
        p
    })
}
