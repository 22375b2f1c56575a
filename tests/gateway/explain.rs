//! `portcullis explain`, as an operator meets it.
use crate::support::*;
#[tokio::test]
async fn tmp() {
    let issuer = Issuer::start().await;
    let core = Recorder::start("").await;
    let gateway = Gateway::start(Settings::new(&issuer.url, core.address)).await;
    for t in ["/ssi/a x", "/ssi/ax"] {
        println!(
            "{}",
            raw(
                gateway.address,
                format!("GET {t} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
                    .as_bytes()
            )
            .await
        );
        println!("{}", raw(gateway.address, format!("GET {t} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer x\r\nContent-Length: 2\r\nConnection: close\r\n\r\nab").as_bytes()).await);
    }
    println!("{}", gateway.output());
}
