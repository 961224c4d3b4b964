//! The instance metadata service: on which instance and in which subnet this process runs, if on any.

use std::time::Duration;

use aws_config::imds::Client;

/// Outside EC2 nobody answers, which must not keep anybody waiting (real time).
const PATIENCE: Duration = Duration::from_millis(500);

/// Where this process runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnInstance {
    /// Instance id.
    pub instance: String,
    /// Subnet of its first network interface, where the service tells it.
    pub subnet: Option<String>,
}

/// Asks the service at `endpoint`, or where EC2 has it; none where it does not answer.
pub async fn own_instance(endpoint: Option<&str>) -> Option<OwnInstance> {
    let builder = Client::builder()
        .connect_timeout(PATIENCE)
        .read_timeout(PATIENCE)
        .max_attempts(1);
    let client = match endpoint {
        Some(endpoint) => builder.endpoint(endpoint).ok()?.build(),
        None => builder.build(),
    };
    let get = async |path: String| client.get(path).await.ok().map(|text| text.as_ref().trim().to_owned());
    let instance = get("/latest/meta-data/instance-id".to_owned()).await?;
    let subnet = match get("/latest/meta-data/mac".to_owned()).await {
        Some(mac) => get(format!("/latest/meta-data/network/interfaces/macs/{mac}/subnet-id")).await,
        None => None,
    };
    Some(OwnInstance { instance, subnet })
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;

    /// Answers as the service does, one request a connection.
    async fn serve(listener: TcpListener) {
        while let Ok((mut connection, _)) = listener.accept().await {
            let mut request = Vec::new();
            let mut some = [0u8; 1024];
            while !request.windows(4).any(|four| four == b"\r\n\r\n") {
                match connection.read(&mut some).await {
                    Ok(count) if count > 0 => request.extend_from_slice(&some[..count]),
                    _ => break,
                }
            }
            let text = String::from_utf8_lossy(&request).into_owned();
            let path = text.split(' ').nth(1).unwrap_or_default().to_owned();
            let body = match path.as_str() {
                "/latest/api/token" => "token",
                "/latest/meta-data/instance-id" => "i-0123456789abcdef0",
                "/latest/meta-data/mac" => "0e:49:61:0f:c3:11",
                "/latest/meta-data/network/interfaces/macs/0e:49:61:0f:c3:11/subnet-id" => "subnet-1",
                _ => "",
            };
            let head = "HTTP/1.1 200 OK\r\nx-aws-ec2-metadata-token-ttl-seconds: 21600\r\nconnection: close\r\n";
            let answer = format!("{head}content-length: {}\r\n\r\n{body}", body.len());
            let _ = connection.write_all(answer.as_bytes()).await;
        }
    }

    #[tokio::test]
    async fn an_instance_knows_itself_and_elsewhere_nobody_does() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let service = tokio::spawn(serve(listener));
        assert_eq!(
            own_instance(Some(&endpoint)).await,
            Some(OwnInstance {
                instance: "i-0123456789abcdef0".to_owned(),
                subnet: Some("subnet-1".to_owned()),
            })
        );
        service.abort();
        let _ = service.await;
        assert_eq!(own_instance(Some(&endpoint)).await, None);
    }
}
