use proptest::prelude::*;

use super::*;

#[test]
fn patterns() {
    for (text, shape, parameters) in [
        ("/", "/", &[][..]),
        ("/api/credential/v1/{id}", "/api/credential/v1/{0}", &["id"][..]),
        ("/{a}/x/{b}", "/{0}/x/{1}", &["a", "b"][..]),
        ("/ssi/{*rest}", "/ssi/{*rest}", &["rest"][..]),
        ("/user-{name}", "/user-{0}", &["name"][..]),
        ("/a/", "/a/", &[][..]),
    ] {
        let pattern = PathPattern::parse(text).unwrap();
        assert_eq!(pattern.shape(), shape);
        assert_eq!(pattern.parameters().collect::<Vec<_>>(), parameters, "{text}");
    }
    for wrong in [
        "",
        "a",
        "//",
        "/a//b",
        "/./a",
        "/a/..",
        "/%41",
        "/a?b",
        "/a#b",
        "/a b",
        "/ä",
        "/{id}/{id}",
        "/{*rest}/x",
        "/{}",
        "/{a",
        "/a}",
        "/{{a}}",
        "/{a-b}",
        "/{a}b",
        "/*a",
        "/a\\b",
        "/{a}{b}",
    ] {
        assert!(PathPattern::parse(wrong).is_err(), "{wrong}");
    }
}

proptest! {
    #[test]
    fn any_text_is_read_or_refused(text in "\\PC{0,40}") {
        if let Ok(pattern) = PathPattern::parse(&text) {
            prop_assert_eq!(pattern.as_str(), text);
        }
    }

    #[test]
    fn a_pattern_is_one_that_the_router_takes(text in "/[a-c/{}*.]{0,12}") {
        if let Ok(pattern) = PathPattern::parse(&text) {
            prop_assert!(matchit::Router::new().insert(pattern.as_str(), ()).is_ok());
            prop_assert_eq!(pattern.parameters().count(), text.matches('{').count());
            // Shape and example are of the pattern.
            let shape = PathPattern::parse(&pattern.shape()).unwrap();
            prop_assert_eq!(shape.shape(), pattern.shape());
            prop_assert_eq!(shape.is_wide(), pattern.is_wide());
            let mut router = matchit::Router::new();
            router.insert(pattern.shape(), ()).unwrap();
            prop_assert!(router.at(&pattern.path_with("1")).is_ok());
        }
    }
}
