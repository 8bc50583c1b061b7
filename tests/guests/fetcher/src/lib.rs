//! A handler that sends the HTTP requests it is told to, with an ordinary client library, so
//! that rules and bounds of `http` can be obeyed and violated on real guest code. Its payload
//! has one command a line, its output one line for each. Nothing here is an example to follow.

use bulkhead_guest::prelude::*;
use wstd::http::error::{Context as _, Error, ErrorCode, HeaderError};
use wstd::http::{Body, Client, Request, Response};
use wstd::runtime::block_on;
use wstd::time::Duration;

plugin!(fetch);

/// Hops after which a redirect is not followed further.
const HOPS: usize = 5;

/// Follows commands, one a line.
#[handler]
fn fetch(commands: String) -> Result<String, Failure> {
    block_on(async {
        let mut answers = Vec::new();
        for command in commands.lines() {
            answers.push(match follow(command).await {
                Ok(answer) => answer,
                Err(error) => named(&error),
            });
        }
        Ok(answers.join("\n"))
    })
}

/// An error in the words of `wasi:http`, where it has any.
fn named(error: &Error) -> String {
    if let Some(code) = error.downcast_ref::<ErrorCode>() {
        return format!("error {code:?}");
    }
    if let Some(header) = error.downcast_ref::<HeaderError>() {
        return format!("header {header:?}");
    }
    format!("failed: {error:#}")
}

async fn follow(command: &str) -> Result<String, Error> {
    let words: Vec<&str> = command.split(' ').collect();
    let client = Client::new();
    match words[..] {
        ["get", url] => shown(get(&client, url).await?).await,
        ["size", url] => size(get(&client, url).await?).await,
        ["method", method, url] => {
            let request = Request::builder().method(method).uri(url).body(Body::empty())?;
            shown(client.send(request).await?).await
        }
        ["post", url, bytes] => {
            let request = Request::post(url).body(Body::from(vec![b'x'; bytes.parse()?]))?;
            shown(client.send(request).await?).await
        }
        ["declared", url, length, bytes] => {
            let mut request = Request::post(url);
            for length in length.split(',') {
                request = request.header("content-length", length);
            }
            let request = request.body(Body::from(vec![b'x'; bytes.parse()?]))?;
            shown(client.send(request).await?).await
        }
        ["header", url, name, bytes] => {
            let value = "v".repeat(bytes.parse()?);
            let request = Request::get(url).header(name, value).body(Body::empty())?;
            shown(client.send(request).await?).await
        }
        ["waits", url, which, ms] => {
            let mut client = Client::new();
            let time = Duration::from_millis(ms.parse()?);
            match which {
                "connect" => client.set_connect_timeout(time),
                "first" => client.set_first_byte_timeout(time),
                _ => client.set_between_bytes_timeout(time),
            }
            shown(get(&client, url).await?).await
        }
        ["follow", url] => redirected(&client, url).await,
        ["hold", url, times] => {
            let mut held = Vec::new();
            for _ in 0..times.parse()? {
                held.push(get(&client, url).await?);
            }
            Ok(format!("held {}", held.len()))
        }
        ["fields", lists, bytes] => fields(lists.parse()?, bytes.parse()?),
        ["trap"] => std::process::abort(),
        _ => Err(Error::msg("no such command")),
    }
}

async fn get(client: &Client, url: &str) -> Result<Response<Body>, Error> {
    client.send(Request::get(url).body(Body::empty())?).await
}

async fn shown(mut response: Response<Body>) -> Result<String, Error> {
    let status = response.status().as_u16();
    let body = response.body_mut().str_contents().await?;
    Ok(format!("{status} {body}"))
}

async fn size(mut response: Response<Body>) -> Result<String, Error> {
    let status = response.status().as_u16();
    let body = response.body_mut().contents().await?;
    Ok(format!("{status} {} bytes", body.len()))
}

/// As client libraries follow redirects: by another request.
async fn redirected(client: &Client, url: &str) -> Result<String, Error> {
    let mut url = url.to_owned();
    for _ in 0..HOPS {
        let response = get(client, &url).await?;
        if !response.status().is_redirection() {
            return shown(response).await;
        }
        let to = response.headers().get("location").context("a redirect to nowhere")?;
        url = to.to_str()?.to_owned();
    }
    Ok("too many redirects".to_owned())
}

/// Hold so many lists of headers with so many bytes in each.
fn fields(lists: usize, bytes: usize) -> Result<String, Error> {
    let mut held = Vec::new();
    for _ in 0..lists {
        let list = wasip2::http::types::Fields::new();
        list.append("x", &vec![b'v'; bytes])?;
        held.push(list);
    }
    Ok(format!("held {}", held.len()))
}
