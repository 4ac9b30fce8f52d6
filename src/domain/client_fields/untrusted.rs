//! Request fields that some server or application trusts, and that a client must not set.
//!
//! Names are in lower case; a final `*` matches any rest. Each group names the products or documents that use these fields. For products
//! with `_` in field names (`SM_USER`, `MELLON_uid`), the spelling with `-` is listed: CGI, WSGI and PHP treat both alike.

/// The products that use the fields, and the field names.
pub(super) type Group = (&'static str, &'static [&'static str]);

#[rustfmt::skip]
pub(super) const UNTRUSTED: &[Group] = &[
    // Path, query and method.
    ("variables of CGI (RFC 3875), WSGI (PEP 3333), PSGI and Rack", &[
        "script-*", "path-info", "path-translated", "request-uri", "request-method", "query-string", "document-root", "document-uri",
        "gateway-interface", "server-addr", "server-name", "server-port", "server-protocol", "wsgi-*", "psgi-*", "rack-*",
    ]),
    ("variables of Apache httpd, PHP and uWSGI", &["redirect-*", "orig-*", "context-prefix", "context-document-root", "php-self", "php-auth-*", "uwsgi-*", "raw-uri"]),
    ("variables of IIS", &["unencoded-url", "iis-*", "appl-*", "logon-user"]),
    ("flask-reverse-proxy, Radicale, mod_wsgi, rack-headermap, Plack::Middleware::ReverseProxyPath", &[
        "x-script*", "x-path-info", "x-pathinfo", "x-traversal-path",
    ]),
    ("Mojolicious, Dancer2, Catalyst's ProxyBase", &["request-base", "x-request-base"]),
    ("repoze.vhm", &["x-vhm-*"]),
    ("Envoy, Istio", &["x-envoy-*", "x-istio-*"]),
    ("IIS URL Rewrite, ISAPI_Rewrite, Symfony, Laminas, ASP.NET Core's ForwardedHeaders, ingress-nginx", &["x-original-*", "x-rewrite-*"]),
    ("Azure App Service and Static Web Apps", &["x-waws-*", "x-ms-original-url", "disguised-host", "was-default-hostname", "x-appservice-*", "is-service-tunneled"]),
    ("AD FS and Web Application Proxy", &["x-ms-proxy", "x-ms-forwarded-client-ip", "x-ms-endpoint-absolute-path", "x-ms-adfs-proxy-client-ip"]),
    ("Traefik's ReplacePath", &["x-replaced-path"]),
    ("Next.js and Vercel (CVE-2025-29927)", &[
        "x-middleware-subrequest*", "x-middleware-rewrite", "x-middleware-invoke", "x-invoke-*", "x-matched-path", "x-now-route-matches", "x-vercel-*", "x-pathname",
    ]),
    ("Astro on Vercel (GHSA-mr6q-rp88-fx84)", &["x-astro-*"]),
    ("Rack::Sendfile (CVE-2025-61780), nginx, Apache's mod_xsendfile", &["x-sendfile*", "x-accel-*"]),
    ("Home Assistant's ingress, RStudio, servlet containers behind a path", &["x-ingress-path", "x-rstudio-*", "x-context-path"]),
    ("authentication subrequests of nginx", &["x-request-uri", "x-request-url", "x-request-path", "x-request-method"]),
    ("lists of fields for getting past access rules (Burp, bypass-403)", &[
        "base-url", "http-url", "uri", "url", "x-http-destinationurl", "x-http-host-override", "x-custom-ip-authorization",
    ]),
    ("method overrides of Rack, Symfony, Laravel, ASP.NET Web API, OData, GWT, Django and Express", &[
        "x-http-method", "x-http-method-override", "x-http-methodoverride", "x-method-override", "x-methodoverride",
    ]),
    ("ASP.NET, which reads the query in the charset that browsers of old telephones name", &["x-up-devcap-post-charset"]),
    // Host and scheme.
    ("X-Forwarded-* of nearly all fronts, Forwarded (RFC 7239), request-ip, WordPress, TYPO3", &["x-forward*", "forwarded*"]),
    ("Django, Rails, mod_wsgi and Pyramid idioms for host and scheme", &["x-host", "x-scheme", "x-url-scheme", "x-https", "https*", "x-proto"]),
    ("Microsoft ISA, TMG and Exchange", &["front-end-https"]),
    // Client addresses.
    ("nginx's realip", &["x-real-*"]),
    ("Rails, Zend, Drupal, request-ip and lists of fields for getting past limits", &[
        "client-ip", "clientip", "x-client-ip", "x-client-address", "x-client-host", "x-client-port", "x-originating-ip", "x-true-ip", "x-true-client-ip", "real-ip", "pc-remote-addr", "x-coming-from",
        "coming-from", "x-wap-network-client-ip",
    ]),
    ("Rackspace, Riverbed, Zscaler, Squid", &["x-cluster-client-ip", "z-forwarded-for", "x-authenticated-*"]),
    ("Akamai, Cloudflare", &["true-client-ip", "x-akamai-*", "cf-connecting-*", "cf-pseudo-ipv4", "cf-visitor", "cf-client-cert-*", "cf-access-*"]),
    ("Fastly, CloudFront, Fly, Netlify", &["fastly-*", "cloudfront-*", "fly-*", "x-nf-*"]),
    ("Azure Front Door", &["x-azure-*"]),
    ("Google App Engine, Cloud Endpoints and Identity-Aware Proxy", &[
        "x-appengine-*", "x-google-*", "x-goog-authenticated-user-*", "x-goog-iap-*", "x-endpoint-api-*", "x-apigateway-*", "sec-istio-auth-userinfo",
    ]),
    ("NiFi, OpenSearch, Nexus, GlassFish, Jetty's and Sun's passthrough", &["x-proxy*", "x-proxied*"]),
    ("CGI scripts (httpoxy, CVE-2016-5385)", &["proxy"]),
    ("Sun and Oracle iPlanet, GlassFish", &[
        "proxy-auth-cert", "proxy-cipher", "proxy-host", "proxy-ip", "proxy-issuer-dn", "proxy-keysize", "proxy-remote-user", "proxy-secret-keysize", "proxy-ssl-id",
        "proxy-url", "proxy-user*",
    ]),
    ("WebLogic", &["wl-*", "x-weblogic-*", "proxy-client-*"]),
    ("WebObjects", &["x-webobjects-*"]),
    ("Citrix NetScaler, F5 BIG-IP", &["x-citrix-*", "ns-client-*", "x-ns-*", "x-f5-*", "sslclient*"]),
    // Identity, by a certificate.
    ("Client-Cert (RFC 9440)", &["client-cert*"]),
    ("Apache's and HAProxy's idioms, Tomcat's SSLValve, Undertow, Keycloak, ingress-nginx", &["ssl-*", "x-ssl*", "x-tls-*", "cert-*"]),
    ("nginx's and HAProxy's idioms for certificates", &[
        "x-client-cert*", "x-client-dn", "x-client-verify", "x-client-s-dn", "x-client-i-dn", "x-client-subject*", "x-client-issuer*", "x-client-serial*",
        "x-client-fingerprint", "x-client-sha1", "x-client-cn", "client-dn", "client-verify", "x-cert-*", "x-subject-dn", "x-issuer-dn",
    ]),
    ("IIS's ARR and ASP.NET Core Module", &["x-arr-*", "ms-aspnetcore-*", "x-iis-*"]),
    ("AWS ALB, API Gateway and Lambda Web Adapter", &["x-amzn-mtls-*", "x-amzn-oidc-*", "x-amzn-tls-*", "x-amzn-request-context", "x-amzn-lambda-context"]),
    ("linkerd", &["l5d-*"]),
    // Identity, by name.
    ("REMOTE_USER and its like; Authelia, Traefik, Paperless", &["remote-*"]),
    ("X-Remote-User: Kubernetes, Splunk, Hue, ArgoCD", &["x-remote-*"]),
    ("Kubernetes impersonation", &["impersonate-*"]),
    ("IBM WebSEAL, Security Access Manager, Verify", &["iv-*", "pd-h-*"]),
    ("CA and Broadcom SiteMinder, Spring Security's default", &["sm-*", "smuser"]),
    ("Oracle Access Manager, OracleAS Single Sign-On", &["oam-*", "osso-*"]),
    ("RSA ClearTrust", &["ct-remote-user", "ct-auth-*"]),
    ("Shibboleth, with ShibUseHeaders and AJP", &["shib-*", "ajp-*", "eppn", "persistent-id", "targeted-id", "affiliation", "unscoped-affiliation", "primary-affiliation", "entitlement"]),
    ("mod_auth_mellon, mod_auth_openidc, mod_auth_cas", &["mellon-*", "oidc-*", "cas-*"]),
    ("LemonLDAP::NG, CGI's AUTH_TYPE and AUTH_USER", &["auth-cn", "auth-groups", "auth-mail", "auth-type", "auth-user*"]),
    ("oauth2-proxy, Louketo (Keycloak Gatekeeper), nginx's auth_request idioms", &[
        "x-auth-request-*", "x-auth-audience", "x-auth-email", "x-auth-groups", "x-auth-name", "x-auth-roles", "x-auth-subject", "x-auth-user*",
    ]),
    ("Vouch, Pomerium, authentik, Ory Oathkeeper, AuthCrunch for Caddy", &["x-vouch-*", "x-pomerium-*", "x-authentik-*", "x-user", "x-token-user-*", "x-token-subject"]),
    ("Grafana, Gitea, Harness", &["x-webauth-*"]),
    ("Teleport, Tailscale", &["teleport-*", "tailscale-*"]),
    ("Azure App Service authentication (EasyAuth)", &["x-ms-client-principal*", "x-ms-token-*"]),
    ("Kong, APISIX", &["x-consumer-*", "x-credential-*", "x-anonymous-consumer", "x-userinfo"]),
    ("WSO2, MuleSoft, Istio: the claims of a token that the front has read", &["x-jwt-*"]),
    ("Elasticsearch", &["es-security-runas-user"]),
];
