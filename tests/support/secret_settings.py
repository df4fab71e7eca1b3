"""Secrets that must not appear in any output."""

SECRET = "planted-5ecret"
SECRET_SETTINGS = {
    "SLACK_BOT_TOKEN": f"xoxb-{SECRET}-1",
    "SENDGRID_API_KEY": f"SG.{SECRET}-2",
    "SMTP_PASSWORD": f"{SECRET} 3",
    "DATABASE_URL": f"postgres://me:{SECRET}%404@db/alerts?sslpassword={SECRET}-5",
    "JWT_SECRET": f"{SECRET}-6",
    "ALERTCTL_TOKEN": f"actl_{SECRET}-7",
}
