//! HTTP statuses: their place in arrays of counters, and their text.

/// The statuses with a counter of their own: those that IANA lists, with the text that Go's
/// `http.StatusText` has for them, which distribution's labels contain.
pub(super) const STATUSES: [(u16, &str); 62] = [
    (100, "Continue"),
    (101, "Switching Protocols"),
    (102, "Processing"),
    (103, "Early Hints"),
    (200, "OK"),
    (201, "Created"),
    (202, "Accepted"),
    (203, "Non-Authoritative Information"),
    (204, "No Content"),
    (205, "Reset Content"),
    (206, "Partial Content"),
    (207, "Multi-Status"),
    (208, "Already Reported"),
    (226, "IM Used"),
    (300, "Multiple Choices"),
    (301, "Moved Permanently"),
    (302, "Found"),
    (303, "See Other"),
    (304, "Not Modified"),
    (305, "Use Proxy"),
    (307, "Temporary Redirect"),
    (308, "Permanent Redirect"),
    (400, "Bad Request"),
    (401, "Unauthorized"),
    (402, "Payment Required"),
    (403, "Forbidden"),
    (404, "Not Found"),
    (405, "Method Not Allowed"),
    (406, "Not Acceptable"),
    (407, "Proxy Authentication Required"),
    (408, "Request Timeout"),
    (409, "Conflict"),
    (410, "Gone"),
    (411, "Length Required"),
    (412, "Precondition Failed"),
    (413, "Request Entity Too Large"),
    (414, "Request URI Too Long"),
    (415, "Unsupported Media Type"),
    (416, "Requested Range Not Satisfiable"),
    (417, "Expectation Failed"),
    (418, "I'm a teapot"),
    (421, "Misdirected Request"),
    (422, "Unprocessable Entity"),
    (423, "Locked"),
    (424, "Failed Dependency"),
    (425, "Too Early"),
    (426, "Upgrade Required"),
    (428, "Precondition Required"),
    (429, "Too Many Requests"),
    (431, "Request Header Fields Too Large"),
    (451, "Unavailable For Legal Reasons"),
    (500, "Internal Server Error"),
    (501, "Not Implemented"),
    (502, "Bad Gateway"),
    (503, "Service Unavailable"),
    (504, "Gateway Timeout"),
    (505, "HTTP Version Not Supported"),
    (506, "Variant Also Negotiates"),
    (507, "Insufficient Storage"),
    (508, "Loop Detected"),
    (510, "Not Extended"),
    (511, "Network Authentication Required"),
];

/// The number of counters: one for each status, and one for all others.
pub(super) const PLACES: usize = STATUSES.len() + 1;

/// The label of all other statuses, as in Go's promhttp.
pub(super) const UNKNOWN: &str = "unknown";

/// The place of each status from 100 to 599.
const INDEX: [u8; 500] = index();

/// The place of a status among the counters.
pub(super) fn place(status: u16) -> usize {
    let index = usize::from(status).wrapping_sub(100);
    INDEX.get(index).map_or(STATUSES.len(), |&place| usize::from(place))
}

/// The label of a place.
pub(super) fn label(place: usize) -> String {
    STATUSES.get(place).map_or_else(|| UNKNOWN.to_owned(), |(status, _)| status.to_string())
}

/// A status with its text, as distribution labels the answers of endpoints.
pub(super) fn with_text(status: u16) -> String {
    let text = STATUSES.get(place(status)).map_or("", |(_, text)| text);
    // Go's format has the space in any case.
    format!("{status} {text}")
}

const fn index() -> [u8; 500] {
    #[expect(clippy::cast_possible_truncation, reason = "there are fewer than 256")]
    let mut index = [STATUSES.len() as u8; 500];
    let mut place = 0;
    while place < STATUSES.len() {
        #[expect(clippy::cast_possible_truncation, reason = "there are fewer than 256")]
        {
            index[(STATUSES[place].0 - 100) as usize] = place as u8;
        }
        place += 1;
    }
    index
}

#[cfg(test)]
mod tests {
    use super::{PLACES, STATUSES, label, place, with_text};

    #[test]
    fn every_status_has_its_place() {
        for (expected, (status, _)) in STATUSES.iter().enumerate() {
            assert_eq!(place(*status), expected);
            assert_eq!(label(expected), status.to_string());
        }
        for status in [0, 99, 104, 299, 499, 599, 600, 1000, u16::MAX] {
            assert_eq!(place(status), PLACES - 1, "{status}");
            assert_eq!(label(place(status)), "unknown");
        }
    }

    #[test]
    fn texts_are_those_of_go() {
        assert_eq!(with_text(200), "200 OK");
        assert_eq!(with_text(413), "413 Request Entity Too Large");
        assert_eq!(with_text(299), "299 ");
    }
}
