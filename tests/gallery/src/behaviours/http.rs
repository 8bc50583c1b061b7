//! Places that no request may reach, and servers that mean harm.

use super::rust::rust;
use crate::Behaviour;
use crate::Expected::{Answers, Completes};
use crate::Guest;

pub(super) const BEHAVIOURS: &[Behaviour] = &[
    rust(
        "greedy",
        "http-many",
        "bounded-host",
        "{server}",
        "Makes 30 requests where 20 are granted.",
        Completes("nothing"),
    ),
    rust(
        "greedy",
        "http-slow",
        "bounded-cpu",
        "{server}",
        "Asks servers that drip their head byte by byte, or never answer.",
        Completes("nothing"),
    ),
    rust(
        "greedy",
        "http-endless",
        "bounded-host",
        "{server}",
        "Reads a body that never ends.",
        Completes("nothing"),
    ),
    rust(
        "greedy",
        "http-giant-head",
        "bounded-host",
        "{server}",
        "Reads a long header, 5,000 headers, and headers that never end.",
        Completes("nothing"),
    ),
    rust(
        "greedy",
        "http-contradiction",
        "decodes-safely",
        "{server}",
        "Reads answers with two lengths, negative ones, chunks beyond 64 bits, and noise.",
        Completes("nothing"),
    ),
    rust(
        "greedy",
        "http-redirect",
        "inside-out",
        "{server}",
        "Follows a redirect to a metadata service that its rules allow.",
        Completes("nothing"),
    ),
    rust(
        "greedy",
        "http-forms",
        "inside-out",
        "{server}",
        "Writes this machine's address in 20 other forms: decimal, octal, mapped into IPv6.",
        Completes("nothing"),
    ),
    rust(
        "greedy",
        "http-injection",
        "inside-out",
        "{server}",
        "Puts lines of its own into names, values, paths, authorities and methods.",
        Completes("nothing"),
    ),
    rust(
        "greedy",
        "http-smuggling",
        "inside-out",
        "{server}",
        "Sends contradicting lengths with a second request in the body.",
        Completes("nothing"),
    ),
    rust(
        "greedy",
        "http-paths",
        "inside-out",
        "{server}",
        "Leaves the path that its rule allows by 12 spellings of `..`.",
        Completes("nothing"),
    ),
    Behaviour {
        name: "http-inside",
        promise: "inside-out",
        guest: Guest::Told {
            plugin: "fetcher",
            task_type: "fetch",
            commands: "get http://127.0.0.1:{port}/ok\nget http://localhost:{port}/ok\n\
                       get http://[::1]:{port}/ok\nget http://[::ffff:127.0.0.1]:{port}/ok\n\
                       get http://0.0.0.0:{port}/ok\nget http://10.0.0.1:{port}/ok\n\
                       get http://169.254.169.254/latest/meta-data/\n\
                       get http://[::ffff:169.254.169.254]/latest/meta-data/\n\
                       get http://[fd00:ec2::254]/latest/meta-data/",
            does: "Asks for this machine, its network and its cloud's metadata, which its rules allow and its grant does not.",
        },
        expected: Answers(&["DestinationIpProhibited"]),
    },
];
